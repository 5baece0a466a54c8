"""Webhook signatures, as Replicate has them: made by workers, checked by the applications that are called."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping

from replibatch.errors import SettingsError, WebhookRefused

OLDEST_SECONDS = 300  # of a webhook that is taken


def sign(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` of one delivery.

    Args:
        secret: `whsec_` and base64.
        webhook_id: its `webhook-id`.
        timestamp: its `webhook-timestamp`, in Unix seconds.
        body: as it is sent.

    Raises:
        SettingsError: the secret is none.
    """
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key_of(secret), signed, hashlib.sha256).digest()).decode()


def key_of(secret: str) -> bytes:
    """The key in a secret.

    Raises:
        SettingsError: there is none. A `ValueError`, as settings want it.
    """
    prefix, _, text = secret.partition("_")
    try:
        key = base64.b64decode(text, validate=True) if prefix == "whsec" else b""
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < 16:
        raise SettingsError(
            "the webhook secret is not usable (not shown); expected: whsec_ and 16 bytes or more as base64"
        )
    return key


def verify_webhook(body: bytes, headers: Mapping[str, str], secret: str) -> str:
    """Check that a webhook comes from the workers, and is not an old one sent again.

    Args:
        body: the request's, byte for byte.
        headers: the request's; names in lower case, or in a mapping that does not mind.
        secret: `REPLIBATCH_WEBHOOK_SECRET`, as the workers have it.

    Returns:
        Its `webhook-id`. A webhook may come twice, with the same id.

    Raises:
        WebhookRefused: it is not signed with the secret, or more than five minutes old.

    Example:
        ```python
        secret = "whsec_" + "bm90IGEgc2VjcmV0IGF0IGFsbA=="
        body, stamp = b"{}", int(time.time())
        headers = {"webhook-id": "msg_1", "webhook-timestamp": str(stamp)}
        headers["webhook-signature"] = sign(secret, "msg_1", stamp, body)
        assert verify_webhook(body, headers, secret) == "msg_1"
        ```
    """
    webhook_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not stamp.isdigit() or abs(time.time() - int(stamp)) > OLDEST_SECONDS:
        raise WebhookRefused(f"webhook-timestamp is {stamp[:20]!r}; expected: within {OLDEST_SECONDS} s of now")
    wanted = sign(secret, webhook_id, int(stamp), body).partition(",")[2]
    given = [each.partition(",")[2] for each in headers.get("webhook-signature", "").split()]
    if not any(hmac.compare_digest(wanted.encode(), each.encode()) for each in given):
        raise WebhookRefused("webhook-signature does not match; expected: the workers' REPLIBATCH_WEBHOOK_SECRET")
    return webhook_id


def secret_of(master: str, owner: str) -> str:
    """The secret of one key of the gateway: whoever knows it can sign for no other.

    Args:
        master: the workers' and the gateway's, `whsec_` and base64.
        owner: the key's id.

    Raises:
        SettingsError: the master secret is none.
    """
    return "whsec_" + base64.b64encode(hmac.new(key_of(master), owner.encode(), hashlib.sha256).digest()).decode()
