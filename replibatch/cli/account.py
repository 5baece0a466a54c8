"""The account a command works on: its producer, and its Redis by an address that can be shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from replibatch.errors import SettingsError
from replibatch.settings import Settings, load

if TYPE_CHECKING:
    from replibatch.queue import Producer


def open_account(**arguments: Any) -> Producer:
    """The producer for the settings as they are now, with a Redis that answers.

    Raises:
        SettingsError: a setting is malformed, or Redis does not answer.
    """
    from redis.exceptions import RedisError  # noqa: PLC0415  # heavy

    from replibatch.queue import open_producer  # noqa: PLC0415  # heavy

    producer = open_producer(**arguments)
    try:
        producer.redis.ping()
    except RedisError as error:
        raise SettingsError(
            f"REPLIBATCH_REDIS_URL: no answer from {redis_address(producer.settings)}: {error}"
        ) from None
    return producer


def redis_address(settings: Settings | None = None) -> str:
    """Where Redis is, without its password."""
    url = (settings or load()).redis_url
    if url is None:
        return "embedded"
    parts = urlsplit(url.get_secret_value())
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
