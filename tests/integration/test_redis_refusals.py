"""A Redis that refuses is a Redis that is away: the call waits, and goes through once it is back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from replibatch.redisdb.calls import Patience, is_refusal
from replibatch.redisdb.connection import connect
from replibatch.redisdb.scripts import Script, Step, run_together

WRITE = Script.of_text("redis.call('SET', KEYS[1], ARGV[1]) return 'kept'")


def read_only(redis: Redis) -> Callable[[], object]:
    redis.replicaof("127.0.0.1", 9)
    return lambda: redis.replicaof("NO", "ONE")


def out_of_memory(redis: Redis) -> Callable[[], object]:
    redis.config_set("maxmemory", 1)
    return lambda: redis.config_set("maxmemory", 0)


def cannot_save(redis: Redis) -> Callable[[], object]:
    redis.config_set("min-replicas-to-write", 1)  # NOREPLICAS: like MISCONF, said of any write
    return lambda: redis.config_set("min-replicas-to-write", 0)


def full_of_clients(redis: Redis) -> Callable[[], object]:
    redis.config_set("maxclients", 1)
    return lambda: redis.config_set("maxclients", 10_000)


@pytest.mark.parametrize("fault", [read_only, out_of_memory, cannot_save, full_of_clients])
@pytest.mark.parametrize("how", ["one", "together"])
def test_a_call_waits_for_a_redis_that_refuses(
    redis_url: str, fault: Callable[[Redis], Callable[[], object]], how: str
) -> None:
    with Redis.from_url(redis_url) as operator, connect(redis_url, patience=Patience(30)) as redis:
        mend = fault(operator)
        timer = threading.Timer(0.7, mend)
        timer.start()
        began = time.monotonic()
        steps = [Step(WRITE, ["a"], ["1"])] * (1 if how == "one" else 2)
        try:
            assert set(run_together(redis, *steps)) == {"kept"}
        finally:
            timer.join()
        assert time.monotonic() - began > 0.5
        assert operator.get("a") == b"1"


def test_what_a_script_does_wrong_is_no_refusal(redis_url: str) -> None:
    with connect(redis_url, patience=Patience(30)) as redis, pytest.raises(ResponseError) as raised:
        Script.of_text("return redis.error_reply('ERR no')")(redis, [], [])
    assert not is_refusal(raised.value)


def test_no_more_connections_than_allowed(redis_url: str) -> None:
    with Redis.from_url(redis_url) as operator, connect(redis_url, most_connections=3) as redis:
        before = len(operator.client_list())
        threads = [threading.Thread(target=lambda: [redis.incr("n") for _ in range(20)]) for _ in range(30)]
        for thread in threads:
            thread.start()
        most = 0
        while any(thread.is_alive() for thread in threads):
            most = max(most, len(operator.client_list()) - before)
        assert most <= 3 and redis.get("n") == "600"


def test_who_finds_no_connection_free_is_told_which_setting(redis_url: str) -> None:
    with connect(redis_url, most_connections=1) as redis:
        redis.connection_pool._wait_seconds = 0.1
        held = redis.connection_pool.get_connection()
        with pytest.raises(RedisConnectionError, match="REPLIBATCH_REDIS_CONNECTIONS"):
            redis.connection_pool.get_connection()
        redis.connection_pool.release(held)
        assert redis.ping()
