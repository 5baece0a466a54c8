"""A Redis that refuses is a Redis that is away: read-only, loading, out of memory, out of clients, unable to save.

Whatever asked is tried again, as after a broken connection, instead of ending what asked.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any

from redis.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.sentinel import SentinelConnectionPool

# How an answer begins if the server, or its successor, may take the same command a little later.
REFUSALS = (
    "READONLY",
    "LOADING",
    "MISCONF",
    "OOM",
    "MASTERDOWN",
    "NOREPLICAS",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "UNBLOCKED",
)
_WORDS = (
    "max number of clients",
    "read only replica",
    "loading the dataset",
    "command not allowed when used memory",
    "MISCONF",
    "NOREPLICAS",
    "Link with MASTER is down",
)


def is_refusal(error: BaseException) -> bool:
    """Whether an error is the answer of a server that takes no commands, or no writes, for now."""
    if not isinstance(error, ResponseError):
        return False
    text = str(error)
    return text.startswith(REFUSALS) or any(words in text for words in _WORDS)


class _Refusable:
    """Of a connection: raises a refusal as a connection that broke, and closes itself."""

    def read_response(self, *args: Any, **options: Any) -> Any:
        """As the connection's own."""
        try:
            response = super().read_response(*args, **options)  # type: ignore[misc]  # of the connection it is mixed into
        except ResponseError as error:
            if not is_refusal(error):
                raise
            self._give_up(error)
        if isinstance(response, list):  # the answers of a transaction
            for each in response:
                if isinstance(each, ResponseError) and is_refusal(each):
                    self._give_up(each)
        return response

    def _give_up(self, error: ResponseError) -> None:
        self.disconnect()  # type: ignore[attr-defined]
        raise RedisConnectionError(f"redis takes no commands: {error}") from error


@lru_cache
def refusable(connection: type) -> type:
    """A class of connections that raises refusals as connections that broke."""
    return connection if issubclass(connection, _Refusable) else type("Refusable", (_Refusable, connection), {})


class _Bounded:
    """Of a pool: at most so many connections; who asks for one more waits."""

    def __init__(self, *args: Any, most_connections: int, wait_seconds: float, **options: Any) -> None:
        self._free = threading.Semaphore(most_connections)
        self._wait_seconds = wait_seconds
        super().__init__(*args, **options)

    def get_connection(self, *args: Any, **options: Any) -> Any:
        """As the pool's own."""
        if not self._free.acquire(timeout=self._wait_seconds):
            raise RedisConnectionError(
                "no connection of this process to redis is free; see REPLIBATCH_REDIS_CONNECTIONS"
            )
        try:
            return super().get_connection(*args, **options)  # type: ignore[misc]
        except BaseException:
            self._free.release()
            raise

    def release(self, connection: Any) -> None:
        """As the pool's own."""
        super().release(connection)  # type: ignore[misc]
        self._free.release()


class Pool(_Bounded, ConnectionPool):
    """A bounded pool of connections to one server."""


class SentinelPool(_Bounded, SentinelConnectionPool):
    """A bounded pool of connections to the primary that sentinels name."""


def connection_class(url: str) -> type:
    """The class of the connections for an address."""
    if url.startswith("unix://"):
        return refusable(UnixDomainSocketConnection)
    return refusable(SSLConnection if url.startswith("rediss://") else Connection)
