"""What every test stands on: settings of its own, and a real Redis for those that ask for one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from replibatch.local.server import choose_endpoint, find_server, write_config

PROJECT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No setting of the user reaches a test, and no test reaches the user's state or working directory.

    Child processes inherit all of it, and find the package wherever they run.
    """
    for name in list(os.environ):
        if name.startswith(("REPLICATE_", "REPLIBATCH_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("REPLIBATCH_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.chdir(tmp_path)
    yield
    if local := sys.modules.get("replibatch.local"):
        local.shutdown()


class RedisServer:
    """A Redis of the tests' own, on a socket in `folder`.

    Args:
        folder: where it keeps its socket and data; short enough for a socket's path.
        durable: with AOF, as in production; otherwise a restart forgets everything.

    Attributes:
        url: its address, `unix://…`.
        process: the server's process at present.
    """

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        binary = find_server(folder)
        assert binary is not None, "no redis-server: install the project's requirements"
        endpoint = choose_endpoint(folder)
        self.url = endpoint.url
        self._command = [str(binary), str(write_config(folder, endpoint, durable=durable))]
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        with Redis.from_url(self.url, retry=None) as redis:
            deadline = time.monotonic() + 10
            while True:
                try:
                    redis.ping()
                except RedisConnectionError:
                    assert process.poll() is None, "redis-server did not start"
                    assert time.monotonic() < deadline, "redis-server does not answer"
                    time.sleep(0.005)
                else:
                    return process

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """`kill -9`, and wait until it is gone."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Stop it as an operator would, and wait until it is gone."""
        self.process.terminate()
        self.process.wait(timeout=10)

    def restart(self) -> None:
        """Stop it if it runs, start it, and wait until it answers; with the data, if it is durable."""
        self.stop()
        self.process = self._start()


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


@pytest.fixture
def durable_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis of this test alone that keeps every acknowledged write, for tests that kill and restart it."""
    server = RedisServer(tmp_path_factory.mktemp("redis"), durable=True)
    yield server
    server.stop()
