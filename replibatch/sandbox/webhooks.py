"""Webhooks, signed and delivered as Replicate does: `completed` is tried for about a minute, the others once."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from urllib.parse import urlsplit

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from replibatch.sandbox.clock import now
from replibatch.sandbox.faults import Phase
from replibatch.sandbox.predictions import Prediction, new_id
from replibatch.sandbox.settings import SandboxSettings
from replibatch.sandbox.strikes import Strikes

LOOPBACK = ("127.0.0.1", "::1", "localhost")
TIMEOUT_SECONDS = 10.0


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` of one delivery.

    Args:
        secret: `whsec_` and base64.
        message_id: the `webhook-id`.
        timestamp: the `webhook-timestamp`, Unix seconds.
        body: as it is sent.
    """
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


class Webhooks:
    """Delivers them, in the stand-in's event loop.

    Args:
        settings: say how they are signed, and where they may go.
        faults: some are missed, some come twice.
    """

    def __init__(self, settings: SandboxSettings, faults: Strikes) -> None:
        self._settings = settings
        self._faults = faults
        self._tasks: set[asyncio.Task[None]] = set()

    def tell(self, prediction: Prediction, event: str, row: str) -> None:
        """Deliver one event, if the prediction's create asked for it; returns at once.

        Args:
            prediction: what it is of.
            event: `start`, `output`, `logs` or `completed`.
            row: the prediction as JSON.
        """
        webhook = prediction.request.webhook
        if webhook is None or event not in webhook.events or not self._may_go_to(webhook.url):
            return
        fault = self._faults.draw(Phase.WEBHOOK, prediction.model_name, prediction.prompt)
        if fault and fault.kind == "webhook-missed":
            return
        message_id = f"msg_{new_id()}"
        for _ in range(2 if fault else 1):
            task = asyncio.create_task(self._deliver(webhook.url, message_id, row.encode(), event))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """Give up the webhooks that are not delivered."""
        for task in self._tasks:
            task.cancel()

    def _may_go_to(self, url: str) -> bool:
        return self._settings.webhooks_anywhere or urlsplit(url).hostname in LOOPBACK

    async def _deliver(self, url: str, message_id: str, body: bytes, event: str) -> None:
        client = SimpleAsyncHTTPClient(force_instance=True)
        pauses = self._settings.webhook_pauses_seconds if event == "completed" else ()
        try:
            for pause in (*pauses, None):
                try:
                    await client.fetch(self._request(url, message_id, body))
                except (HTTPClientError, OSError):
                    if pause is not None:
                        await asyncio.sleep(pause)
                    continue
                return
        finally:
            client.close()

    def _request(self, url: str, message_id: str, body: bytes) -> HTTPRequest:
        timestamp = int(now())
        secret = self._settings.webhook_secret.get_secret_value()
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(secret, message_id, timestamp, body),
        }
        return HTTPRequest(
            url,
            "POST",
            headers,
            body,
            request_timeout=TIMEOUT_SECONDS,
            follow_redirects=False,
            decompress_response=False,
        )
