"""The processes of embedded mode: what they are, what they hold, and one more that uses them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

USER = """
import os, sys, time
from replibatch import embedded, settings
print(embedded.attach(settings.load()), flush=True)
{then}
sys.stdin.read()
"""


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether any thread of it runs; a dead process that nobody has buried yet has none that does."""
    try:
        threads = [stat.read_text() for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):  # one of them ended meanwhile
        return True
    return any(thread.rpartition(")")[2].split()[0] != "Z" for thread in threads)


def server_pid(url: str) -> int:
    with Redis.from_url(url, retry=None) as redis:
        return int(redis.info("server")["process_id"])


def keeper_pid(url: str) -> int:
    stat = Path(f"/proc/{server_pid(url)}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def answers(url: str) -> bool:
    try:
        with Redis.from_url(url, retry=None) as redis:
            return bool(redis.ping())
    except RedisError:
        return False


def write(url: str, key: str, value: str) -> None:
    with Redis.from_url(url, retry=None) as redis:
        redis.set(key, value)


def read(url: str, key: str) -> str | None:
    with Redis.from_url(url, retry=None, decode_responses=True) as redis:
        return redis.get(key)


class User:
    """Another process that uses the embedded Redis until its standard input ends."""

    def __init__(self, then: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER.format(then=then)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def leave(self) -> None:
        """End as a script does, or after `kill -9`; and be buried."""
        with self.process:
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process.wait(10)

    def kill(self) -> None:
        self.process.kill()
        self.leave()
