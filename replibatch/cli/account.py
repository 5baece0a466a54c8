"""The account a command works on, and who works for it."""

from __future__ import annotations

import click
from redis.exceptions import RedisError

from replibatch.errors import SettingsError
from replibatch.producer import Producer, open_producer
from replibatch.settings import Settings


def open_account() -> Producer:
    """This process's producer for the settings as they are now.

    Raises:
        SettingsError: a setting is malformed, or Redis does not answer.
    """

    return _answering(open_producer())


def opened(settings: Settings) -> Producer:
    """A producer for these settings.

    Raises:
        SettingsError: as `open_account`.
    """

    return _answering(Producer(settings))


def _answering(producer: Producer) -> Producer:
    try:
        producer.redis.ping()
    except RedisError as error:
        address = producer.settings.redis_address
        raise SettingsError(f"REPLIBATCH_REDIS_URL: no answer from {address}: {error}") from None
    return producer


def say_if_no_worker(producer: Producer, embedded_hint: str = "") -> None:
    """Say which command starts a worker where none is running.

    Args:
        producer: the process's.
        embedded_hint: a command that brings a worker in embedded mode; empty where this process brings one.
    """

    if producer.embedded and not embedded_hint:
        return
    if producer.limiter.status().workers:
        return
    hint = f"{embedded_hint} or `replibatch worker`" if producer.embedded else "`replibatch worker`"
    click.echo(f"replibatch: no worker answers; it waits until there is one: {hint}", err=True)
