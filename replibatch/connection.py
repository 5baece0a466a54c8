"""Connections to Redis: one client a process and address, with time-outs of its own."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import Sentinel

from replibatch.errors import SettingsError

CALL_SECONDS = 5.0  # longer than any script takes, shorter than a lease
BLOCKING_MARGIN_SECONDS = 5.0  # a blocking read may last this much longer than the time it asks for

PAUSE_SECONDS = 0.5  # the longest between two tries of a call


def connect(url: str, *, longest_block_seconds: float = 0.0, patience_seconds: float = 1.0) -> Redis:
    """A client for `url` (`redis://`, `rediss://`, `unix://` or `sentinel://host:port,host:port/master/db`).

    Args:
        url: the address, with its password.
        longest_block_seconds: the longest blocking read this client will make; its socket waits longer than that.
        patience_seconds: how long a call is tried again while Redis is away.

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
        "retry": Retry(
            ExponentialBackoff(cap=PAUSE_SECONDS, base=0.02), retries=3 + round(patience_seconds / PAUSE_SECONDS)
        ),
        "retry_on_error": [RedisConnectionError, RedisTimeoutError],
    }
    parts = urlsplit(url)
    try:
        if parts.scheme == "sentinel":
            return _by_sentinel(url, options)
        if not parts.scheme.endswith(("unix", "socket")):
            options["socket_keepalive"] = True
        return Redis.from_url(url.replace("redis+socket://", "unix://", 1), **options)
    except ValueError as error:
        raise SettingsError(f"REPLIBATCH_REDIS_URL: {error}; allowed: as in redis://:password@host:6379/0") from None


def _by_sentinel(url: str, options: dict[str, object]) -> Redis:
    """`sentinel://[:password@]host:26379[,host:26379…]/master[/db][?sentinel_password=…]`."""
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    master, _, database = parts.path.strip("/").partition("/")
    if not master:
        raise ValueError("a sentinel:// address names its master, as in sentinel://host:26379/mymaster")
    nodes = [(host, int(port or 26379)) for host, _, port in (node.partition(":") for node in hosts.split(","))]
    username, _, password = credentials.partition(":")
    sentinel_password = parse_qs(parts.query).get("sentinel_password", [None])[0]
    sentinel: Any = Sentinel(nodes, sentinel_kwargs={"password": sentinel_password}, socket_timeout=CALL_SECONDS)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
    client: Redis = sentinel.master_for(
        master,
        username=unquote(username) or None,
        password=unquote(password) or None,
        db=int(database or 0),
        **options,
    )
    return client
