"""Connections to Redis: one client a process and address, with time-outs of its own."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelManagedConnection

from replibatch.errors import SettingsError
from replibatch.redisdb.calls import Patience, Pool, SentinelPool, connection_class, refusable, tries

MOST_CONNECTIONS = 4  # of a client: threads wait for each other, for a fraction of a millisecond
UNBOUNDED = 2**31  # of the pool itself: redis-py 8 would refuse the 101st
POOL_WAIT_SECONDS = 60.0  # for a connection that another thread uses
CALL_SECONDS = 5.0  # longer than any script takes, shorter than a lease
BLOCKING_MARGIN_SECONDS = 5.0  # a blocking read may last this much longer than the time it asks for
SENTINEL_PORT = 26379

WATCH_SECONDS = 0.3  # between two questions to the sentinels who the primary is


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
    patience: Patience | None = None,
    most_connections: int = MOST_CONNECTIONS,
) -> Redis:
    """A client for `url` (`redis://`, `rediss://`, `unix://` or `sentinel://host:port,host:port/master/db`).

    Args:
        url: the address, with its password.
        longest_block_seconds: the longest blocking read this client will make; its socket waits longer than that.
        patience: how long a call is tried again while Redis is away; a second by default.
        most_connections: of this client; who needs one more waits for it.

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
        "retry": tries(patience or Patience()),
        "retry_on_error": [RedisConnectionError, RedisTimeoutError],
    }
    try:
        if url.startswith("sentinel://"):
            return _by_sentinel(parse_sentinel(url), options, most_connections)
        if url.startswith("redis+socket://"):
            url = url.replace("redis+socket://", "unix://", 1).replace("virtual_host=", "db=")
        if not url.startswith("unix://"):
            options["socket_keepalive"] = True
        bounds = {
            "most_connections": most_connections,
            "wait_seconds": POOL_WAIT_SECONDS,
            "max_connections": UNBOUNDED,
        }
        return Redis.from_pool(Pool.from_url(url, connection_class=connection_class(url), **bounds, **options))
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


def _by_sentinel(address: SentinelAddress, options: dict[str, object], most_connections: int) -> Redis:
    sentinel: Any = Sentinel(address.sentinels, sentinel_kwargs=address.sentinel_options)
    client: Redis = sentinel.master_for(
        address.master,
        connection_pool_class=SentinelPool,
        connection_class=refusable(_Primary),
        most_connections=most_connections,
        wait_seconds=POOL_WAIT_SECONDS,
        max_connections=UNBOUNDED,
        username=address.username or None,
        password=address.password or None,
        db=address.database,
        socket_keepalive=True,
        **options,
    )
    threading.Thread(
        target=_watch_primary, args=[weakref.ref(client.connection_pool)], name="sentinel", daemon=True
    ).start()
    return client


def _watch_primary(pool_of: Callable[[], Any]) -> None:
    """Leave a primary as soon as the sentinels have another.

    For some ten seconds after an orderly failover the old one would still take writes, and they would be lost.
    """
    while (pool := pool_of()) is not None:
        with suppress(RedisError):
            pool.get_master_address()  # closes the idle connections to any other
        del pool
        time.sleep(WATCH_SECONDS)
