"""What the values of settings have to be: each validator says in its error what is expected."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from replibatch.errors import SettingsError
from replibatch.webhooks import key_of

REDIS_SCHEMES = ("redis", "rediss", "sentinel", "unix", "redis+socket")
METADATA = ("none", "source", "full")
VISIBLE = re.compile(r"[!-~]+")
ACCOUNT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def metadata(value: str) -> str:
    """One of `METADATA`.

    Raises:
        ValueError: it is none; says what is expected.
    """
    if value not in METADATA:
        raise ValueError(", ".join(METADATA))
    return value


def http_url(value: str) -> str:
    """An address that a token may be sent to, without a slash at its end.

    Raises:
        ValueError: it is none; says what is expected.
    """
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an http:// or https:// address")
    if parts.scheme == "http" and not _is_this_machine(parts.hostname):  # the token could be read on the way
        raise ValueError("an https:// address; http:// for a server on this machine alone")
    return value.rstrip("/")


def _is_this_machine(host: str) -> bool:
    if host.rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def redis_url(value: SecretStr) -> SecretStr:
    """An address of Redis, of a kind that the client knows.

    Raises:
        ValueError: it is none; says what is expected.
    """
    if value.get_secret_value().partition("://")[0] not in REDIS_SCHEMES:
        raise ValueError("an address that starts with redis://, rediss://, sentinel:// or unix://")
    return value


def webhook_secret(value: SecretStr) -> SecretStr:
    """A secret that webhooks can be signed with.

    Raises:
        ValueError: it is none; says what is expected.
    """
    try:
        key_of(value.get_secret_value())
    except SettingsError:
        raise ValueError("whsec_, then 16 bytes or more in base64") from None
    return value


def token(value: SecretStr) -> SecretStr:
    """A token that fits into a header.

    Raises:
        ValueError: it is none; says what is expected.
    """
    token = value.get_secret_value().strip()
    # Anything else would end up in the words of the HTTP client's error.
    if not VISIBLE.fullmatch(token):
        raise ValueError("letters, digits and punctuation of ASCII, without spaces")
    return SecretStr(token)


def account_name(value: str) -> str:
    """A name that fits into keys and queue names.

    Raises:
        ValueError: it is none; says what is expected.
    """
    if not ACCOUNT_NAME.fullmatch(value):
        raise ValueError("up to 64 letters, digits, '.', '_' and '-', a letter or digit first")
    return value


def path(value: Path) -> Path:
    """A path, with the home folder put in.

    Raises:
        ValueError: it is none; says what is expected.
    """
    try:
        return value.expanduser()
    except RuntimeError:
        raise ValueError("a path; after '~' the name of a user of this machine, or none") from None
