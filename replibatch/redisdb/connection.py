"""Connections to Redis: one client a process and address, with time-outs of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, unquote, urlsplit

from redis import Redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelManagedConnection

from replibatch.errors import SettingsError

MOST_CONNECTIONS = 2**31  # as many as there are threads: redis-py 8 would refuse the 101st
CALL_SECONDS = 5.0  # longer than any script takes, shorter than a lease
BLOCKING_MARGIN_SECONDS = 5.0  # a blocking read may last this much longer than the time it asks for
SENTINEL_PORT = 26379

PAUSE_SECONDS = 0.5  # the longest between two tries of a call
SHORTEST_PAUSE_SECONDS = 0.02


class _Pauses(ExponentialBackoff):
    """Pauses between the tries of a call, until patience is at an end: then there is one more try, at once."""

    def __init__(self, out_of_patience: threading.Event) -> None:
        super().__init__(cap=PAUSE_SECONDS, base=SHORTEST_PAUSE_SECONDS)
        self._out_of_patience = out_of_patience

    def __deepcopy__(self, memo: object) -> Self:  # each connection copies its client's, and shares the event
        return self

    def compute(self, failures: int) -> float:
        if not self._out_of_patience.is_set():
            return super().compute(failures)
        if failures > 1:
            raise RedisConnectionError("redis is away, and is waited for no longer")
        return 0.0


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
        def may_be_over(error: Exception) -> bool:
            return not isinstance(error, AuthenticationError) and (is_retryable is None or is_retryable(error))

        return super().call_with_retry(do, fail, may_be_over, *more, **options)


class _Primary(SentinelManagedConnection):
    """A connection that asks the sentinels for the primary each time it is made.

    redis-py's own asks them for a new command only: one that was under way when the primary died is tried again at
    the dead address, for as long as there is patience.
    """

    def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = True) -> None:
        if retry_socket_connect:  # in the midst of a command
            self.connect()  # type: ignore[no-untyped-call]
        else:  # called by `connect`, with the address that the sentinels gave
            super().connect_check_health(check_health, retry_socket_connect)


def connect(
    url: str,
    *,
    longest_block_seconds: float = 0.0,
    patience_seconds: float = 1.0,
    out_of_patience: threading.Event | None = None,
) -> Redis:
    """A client for `url` (`redis://`, `rediss://`, `unix://` or `sentinel://host:port,host:port/master/db`).

    Args:
        url: the address, with its password.
        longest_block_seconds: the longest blocking read this client will make; its socket waits longer than that.
        patience_seconds: how long a call is tried again while Redis is away.
        out_of_patience: set it to have calls fail at once in which Redis does not answer.

    Raises:
        SettingsError: the address is malformed.
    """
    options = {
        "decode_responses": True,
        "socket_timeout": (longest_block_seconds + BLOCKING_MARGIN_SECONDS)
        if longest_block_seconds
        else CALL_SECONDS,
        "socket_connect_timeout": CALL_SECONDS,
        "health_check_interval": 30,
        # Every script of ours may be repeated: a connection that broke is made again and the call repeated.
        "retry": _Tries(
            _Pauses(out_of_patience or threading.Event()), retries=3 + round(patience_seconds / PAUSE_SECONDS)
        ),
        "retry_on_error": [RedisConnectionError, RedisTimeoutError],
    }
    try:
        if url.startswith("sentinel://"):
            return _by_sentinel(parse_sentinel(url), options)
        if url.startswith("redis+socket://"):
            url = url.replace("redis+socket://", "unix://", 1).replace("virtual_host=", "db=")
        if not url.startswith("unix://"):
            options["socket_keepalive"] = True
        return Redis.from_url(url, max_connections=MOST_CONNECTIONS, **options)
    except ValueError:
        raise SettingsError(
            "REPLIBATCH_REDIS_URL is not usable (not shown: it is a secret); allowed: "
            "redis://[user:password@]host:port/database (rediss:// with TLS), unix:///path?db=0, or "
            "sentinel://[user:password@]host:port,host:port/master/database; "
            "in a password, characters such as / # ? as %2F %23 %3F"
        ) from None


class SentinelAddress(NamedTuple):
    """A master and the sentinels that know where it is.

    Attributes:
        sentinels: host and port of each.
        master: its name.
        database: its number.
        username: for the master; empty for none.
        password: for the master; empty for none.
        sentinel_password: for the sentinels; None for none.
    """

    sentinels: list[tuple[str, int]]
    master: str
    database: int
    username: str
    password: str
    sentinel_password: str | None

    @property
    def sentinel_options(self) -> dict[str, Any]:
        """How to connect to the sentinels: one that is away is not tried again, as there are others."""
        return {
            "password": self.sentinel_password,
            "socket_timeout": CALL_SECONDS,
            "socket_connect_timeout": CALL_SECONDS,
            "retry": Retry(NoBackoff(), 0),
        }


def parse_sentinel(url: str) -> SentinelAddress:
    """Read `sentinel://[user:password@]host[:26379][,host…]/master[/db][?sentinel_password=…]`.

    Raises:
        ValueError: it is malformed.
    """
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    master, _, database = parts.path.strip("/").partition("/")
    if not master or not hosts:
        raise ValueError("no master, or no sentinel")
    nodes = [node.partition(":") for node in hosts.split(",")]
    username, _, password = credentials.partition(":")
    return SentinelAddress(
        [(host, int(port or SENTINEL_PORT)) for host, _, port in nodes],
        unquote(master),
        int(database or 0),
        unquote(username),
        unquote(password),
        parse_qs(parts.query).get("sentinel_password", [None])[0],
    )


def _by_sentinel(address: SentinelAddress, options: dict[str, object]) -> Redis:
    sentinel: Any = Sentinel(address.sentinels, sentinel_kwargs=address.sentinel_options)
    client: Redis = sentinel.master_for(
        address.master,
        username=address.username or None,
        password=address.password or None,
        db=address.database,
        socket_keepalive=True,
        connection_class=_Primary,
        **options,
    )
    return client
