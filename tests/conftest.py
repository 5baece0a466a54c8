"""What every test stands on: settings of its own, and a real Redis for those that ask for one."""

from __future__ import annotations

import logging
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import settings as hypothesis_settings
from redis import Redis

from tests.support import PROJECT
from tests.support.redis_server import RedisServer

# A busy machine fails no test, and none fails by luck; `python -m tests.histories` draws new histories each time.
hypothesis_settings.register_profile("any-machine", hypothesis_settings(), deadline=None, derandomize=True)
hypothesis_settings.load_profile("any-machine")


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No setting of the user reaches a test, and no test reaches the user's state or working directory.

    Child processes inherit all of it, and find the package wherever they run.
    """
    for name in list(os.environ):
        if name.startswith(("REPLICATE_", "REPLIBATCH_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("REPLIBATCH_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)  # each of hundreds would compile it all again
    monkeypatch.chdir(tmp_path)
    yield
    if local := sys.modules.get("replibatch.embedded"):
        local.shutdown()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis for the whole run, without persistence. Take `redis_url` for an empty database on it."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of a Redis that is up and empty."""
    if not redis_server.alive:
        redis_server.restart()
    with Redis.from_url(redis_server.url) as redis:
        redis.flushall()
    return redis_server.url


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """A server that speaks S3 for the whole run; its address. Take `bucket` for an empty bucket on it."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket, `s3://…`, with the credentials for it in the environment."""
    name = f"bucket-{secrets.token_hex(6)}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATHEKEYOFTHETESTS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-of-the-tests")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    httpx.put(f"{s3_server}/{name}").raise_for_status()
    return f"s3://{name}"


@pytest.fixture
def durable_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis of this test alone that keeps every acknowledged write, for tests that kill and restart it."""
    server = RedisServer(tmp_path_factory.mktemp("redis"), durable=True)
    yield server
    server.stop()
