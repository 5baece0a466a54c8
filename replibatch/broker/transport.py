"""The adapter of kombu's Redis transport: without the calls that cost most of a worker's CPU there.

kombu makes a new client for each message that it sends or acknowledges, and acknowledges in Redis even messages of a
queue that is consumed without. Private names in use: `QoS._delivered`,
`Channel._create_client`, `Channel._connparams` (kombu 5.6, 5.7);
`tests/integration/test_publish.py` fails where they move.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis

from replibatch.redisdb.calls import refusable

NAME = "replibatch"

log = logging.getLogger("replibatch")  # producers have no structlog

TRANSPORT_ALIASES[NAME] = f"{__name__}:Transport"
TRANSPORT_ALIASES["sentinel"] = f"{__name__}:SentinelTransport"


def with_lasting_clients(url: str) -> str:
    """A broker's address as `celery_app.celery_url` gives it, for this transport; sentinels keep kombu's clients."""
    scheme, separator, rest = url.partition("+socket://")
    return f"{NAME}{separator}{rest}" if scheme == "redis" and separator else url


class QoS(kombu_redis.QoS):
    """The unacknowledged messages: none of a queue that is consumed without acknowledgement."""

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message, if it waits for that."""
        if delivery_tag in self._delivered:
            super().ack(delivery_tag)


class _Refusable:
    """Of a channel: a Redis that refuses is one that is away."""

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        params: dict[str, Any] = super()._connparams(asynchronous)  # type: ignore[misc]  # of the channel it is mixed into
        params["connection_class"] = refusable(params["connection_class"])
        return params


class Careful:
    """Part of a channel: throws away anything in the queue that is no message; it must not end the worker.

    Any client with write access to the queue could put anything there.
    """

    def _brpop_read(self, **options: Any) -> Any:
        with _thrown_away():
            return super()._brpop_read(**options)  # type: ignore[misc]  # the channel's

    def _receive_one(self, client: Any) -> Any:
        with _thrown_away():
            return super()._receive_one(client)  # type: ignore[misc]  # the channel's


@contextmanager
def _thrown_away() -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        if isinstance(error, OSError):  # the connection's
            raise
        reason = f"{type(error).__name__}: {error}"[:300]
        log.warning("something in the queue is no message; it was thrown away: %s", reason)
        raise Empty from None


class SentinelChannel(_Refusable, Careful, kombu_redis.SentinelChannel):
    """A channel through sentinels."""

    QoS = QoS


class SentinelTransport(kombu_redis.SentinelTransport):
    """`sentinel://`, under kombu's own name: a connection that fails over finds its transport by that."""

    Channel = SentinelChannel


class Channel(_Refusable, Careful, kombu_redis.Channel):
    """A channel that keeps its client as long as the pool it draws on."""

    QoS = QoS
    _lasting: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:  # for the one connection it blocks on
            return super()._create_client(asynchronous=True)
        if self._lasting is None or self._lasting.connection_pool is not self.pool:
            self._lasting = super()._create_client()
        return self._lasting


class Transport(kombu_redis.Transport):
    """`redis://`, `rediss://` and `redis+socket://`."""

    Channel = Channel
