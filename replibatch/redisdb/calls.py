"""A call to Redis: it waits for a connection, and is tried again while Redis is away.

A Redis that refuses is one that is away, too: read-only, loading, out of memory, out of clients, unable to save.
Whatever asked is tried again, as after a broken connection, instead of ending what asked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Self

from redis.backoff import ExponentialBackoff
from redis.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import AuthenticationError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool

PAUSE_SECONDS = 0.5  # the longest between two tries of a call
SHORTEST_PAUSE_SECONDS = 0.02
LEAST_TRIES = 3

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


class Patience:
    """How long the calls of a client wait for a Redis that is away.

    Args:
        seconds: of one call; may be changed while calls wait.
        is_over: set it to have calls fail at once.

    Attributes:
        on_wait: called before each pause of a call that waits, with the seconds it has waited.
    """

    def __init__(self, seconds: float = 1.0, is_over: threading.Event | None = None) -> None:
        self.seconds = seconds
        self.is_over = is_over or threading.Event()
        self.on_wait: Callable[[float], object] = lambda _: None


class _OutOfPatience(Exception):
    """The call has waited for long enough."""


class _Pauses(ExponentialBackoff):
    """Pauses between the tries of a call, until patience is at an end: then there is one more try, at once."""

    def __init__(self, patience: Patience) -> None:
        super().__init__(cap=PAUSE_SECONDS, base=SHORTEST_PAUSE_SECONDS)
        self._patience = patience
        self._since = threading.local()

    def __deepcopy__(self, memo: object) -> Self:  # each connection copies its client's, and shares the patience
        return self

    def compute(self, failures: int) -> float:
        if failures == 1:
            self._since.moment = time.monotonic()
        waited_seconds = time.monotonic() - self._since.moment
        if self._patience.is_over.is_set():
            if failures > 1:
                raise _OutOfPatience
            return 0.0
        if failures > LEAST_TRIES and waited_seconds >= self._patience.seconds:
            raise _OutOfPatience
        self._patience.on_wait(waited_seconds)
        return super().compute(failures)


class _Tries(Retry):
    """Tries of a call: again after whatever may be over the next time, which a refused password is not."""

    def call_with_retry(
        self,
        do: Callable[[], Any],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        *more: Any,
        **options: Any,
    ) -> Any:
        last: list[Exception] = []

        def may_be_over(error: Exception) -> bool:
            last[:] = [error]
            return not isinstance(error, AuthenticationError) and (is_retryable is None or is_retryable(error))

        try:
            return super().call_with_retry(do, fail, may_be_over, *more, **options)
        except _OutOfPatience:
            raise last[0] from None


def tries(patience: Patience) -> Retry:
    """How the calls of a client are tried again."""
    return _Tries(_Pauses(patience), retries=-1)


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
