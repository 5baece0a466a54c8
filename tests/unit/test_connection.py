"""Connections to Redis: every kind of address, and what a bad one says."""

from __future__ import annotations

import threading
import time

import pytest
from redis import SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.sentinel import SentinelConnectionPool

from replibatch.embedded.server import free_port
from replibatch.errors import SettingsError
from replibatch.redisdb.calls import Patience
from replibatch.redisdb.connection import connect, parse_sentinel


def wanted(url: str, **options: float) -> dict[str, object]:
    """What a client of that address would connect with."""
    return connect(url, **options).connection_pool.connection_kwargs


class TestAddresses:
    def test_a_plain_one(self):
        options = wanted("redis://user:p%2Fw@host:1234/5")
        assert [options[name] for name in ("username", "password", "host", "port", "db")] == [
            "user", "p/w", "host", 1234, 5,
        ]  # fmt: skip
        assert options["socket_keepalive"] is True
        assert options["decode_responses"] is True

    def test_tls(self):
        assert issubclass(connect("rediss://host").connection_pool.connection_class, SSLConnection)

    @pytest.mark.parametrize(
        "url", ["unix://:pw@/a%20b/r.sock?db=3", "redis+socket://:pw@/a%20b/r.sock?virtual_host=3"]
    )
    def test_a_socket_in_either_spelling(self, url):
        pool = connect(url).connection_pool
        assert issubclass(pool.connection_class, UnixDomainSocketConnection)
        assert [pool.connection_kwargs[name] for name in ("path", "password", "db")] == ["/a b/r.sock", "pw", 3]
        pool.make_connection()

    def test_sentinels(self):
        address = parse_sentinel("sentinel://user:p%40w@one:1,two/mymaster/4?sentinel_password=sp")
        assert address == ([("one", 1), ("two", 26379)], "mymaster", 4, "user", "p@w", "sp")
        pool = connect("sentinel://:pw@one:1,two/mymaster/4?sentinel_password=sp").connection_pool
        assert isinstance(pool, SentinelConnectionPool)
        assert pool.service_name == "mymaster"
        assert pool.connection_kwargs["password"] == "pw"
        assert pool.connection_kwargs["db"] == 4
        nodes = [node.connection_pool.connection_kwargs for node in pool.sentinel_manager.sentinels]
        assert [(node["host"], node["port"], node["password"]) for node in nodes] == [
            ("one", 1, "sp"),
            ("two", 26379, "sp"),
        ]

    @pytest.mark.parametrize(
        "url",
        [
            "redis://:hush/hush@host:6379/0",
            "redis://host:hush/0",
            "redis://[hush",
            "sentinel://:hush@host:26379",
            "sentinel://host:hush/mymaster",
            "sentinel:///hush",
            "hush",
        ],
    )
    def test_a_bad_one_is_refused_in_one_line_that_does_not_repeat_it(self, url):
        with pytest.raises(SettingsError) as caught:
            connect(url)
        assert str(caught.value).startswith("REPLIBATCH_REDIS_URL is not usable")
        assert "; allowed: redis://" in str(caught.value)
        assert "hush" not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.__suppress_context__


class TestTimeOuts:
    def test_a_blocking_read_is_not_cut_short(self):
        block = 20.0
        assert wanted("redis://host", longest_block_seconds=block)["socket_timeout"] > block
        assert wanted("redis://host")["socket_timeout"] < block

    def test_patience_is_as_long_as_wanted(self):
        """A call is tried again, however quickly each try fails, for about as long as its caller has patience."""
        for seconds in (0.3, 1.5):
            began = time.monotonic()
            with pytest.raises(RedisConnectionError, match="refused"):
                connect(f"redis://127.0.0.1:{free_port()}", patience=Patience(seconds)).ping()
            assert seconds <= time.monotonic() - began <= seconds + 5


def test_a_call_that_waits_for_redis_ends_when_patience_does() -> None:
    out_of_patience = threading.Event()
    client = connect(f"redis://127.0.0.1:{free_port()}", patience=Patience(600, out_of_patience))
    threading.Timer(0.3, out_of_patience.set).start()
    with pytest.raises(RedisConnectionError):
        client.ping()
    began = time.monotonic()
    with pytest.raises(RedisConnectionError):
        client.ping()
    assert time.monotonic() - began < 5
