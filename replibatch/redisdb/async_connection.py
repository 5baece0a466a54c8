"""Connections to Redis for an event loop, with the time-outs and the tries of `connection`."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from replibatch.redisdb.calls import PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS
from replibatch.redisdb.connection import CALL_SECONDS, parse_sentinel

TRIES = 5


def connect_async(url: str) -> Redis:
    """A client for `url`, as `connection.connect` takes it. Close it in the loop that used it."""
    options: dict[str, Any] = {
        "decode_responses": True,
        "socket_timeout": CALL_SECONDS,
        "socket_connect_timeout": CALL_SECONDS,
        "retry": Retry(ExponentialBackoff(cap=PAUSE_SECONDS, base=SHORTEST_PAUSE_SECONDS), retries=TRIES),
        "retry_on_error": [RedisConnectionError, RedisTimeoutError],
    }
    if url.startswith("sentinel://"):
        address = parse_sentinel(url)
        of_sentinels = {**address.sentinel_options, "retry": Retry(ExponentialBackoff(), 0)}
        sentinel: Any = Sentinel(address.sentinels, sentinel_kwargs=of_sentinels)
        client: Redis = sentinel.master_for(
            address.master,
            username=address.username or None,
            password=address.password or None,
            db=address.database,
            **options,
        )
        return client
    if url.startswith("redis+socket://"):
        url = url.replace("redis+socket://", "unix://", 1).replace("virtual_host=", "db=")
    return Redis.from_url(url, **options)
