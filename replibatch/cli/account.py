"""The account a command works on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from replibatch.errors import SettingsError

if TYPE_CHECKING:
    from replibatch.queue import Producer
    from replibatch.settings import Settings


def open_account() -> Producer:
    """This process's producer for the settings as they are now.

    Raises:
        SettingsError: a setting is malformed, or Redis does not answer.
    """
    from replibatch.queue import open_producer  # noqa: PLC0415  # heavy

    return _answering(open_producer())


def opened(settings: Settings) -> Producer:
    """A producer for these settings.

    Raises:
        SettingsError: as `open_account`.
    """
    from replibatch.queue import Producer  # noqa: PLC0415  # heavy

    return _answering(Producer(settings))


def _answering(producer: Producer) -> Producer:
    from redis.exceptions import RedisError  # noqa: PLC0415  # heavy

    try:
        producer.redis.ping()
    except RedisError as error:
        address = producer.settings.redis_address
        raise SettingsError(f"REPLIBATCH_REDIS_URL: no answer from {address}: {error}") from None
    return producer
