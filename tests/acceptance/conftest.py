"""Real worker processes, the real stand-in, and scripts as users write them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from PIL import Image

from replibatch.redisdb.connection import connect
from replibatch.sandbox import Sandbox, SandboxSettings
from tests.support.browser import browser, page
from tests.support.commands import quick_models, start
from tests.support.forks import Forked
from tests.support.waiting import until

Worker = subprocess.Popen[bytes] | Forked

__all__ = ["browser", "page", "quick_models", "start"]  # fixtures that live in a file of their own


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, quick_models: None) -> Iterator[Sandbox]:
    """A stand-in for Replicate, with the environment pointing at it. Change `sandbox.settings` as needed.

    Its images are small: drawing large ones takes more of the processor than all that is tested of them.
    """
    with Sandbox(SandboxSettings(latency_seconds=0.2, long_edge_pixels=64), port=0) as server:
        monkeypatch.setenv("REPLICATE_BASE_URL", server.url)
        monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_of_the_tests")
        yield server


@pytest.fixture
def fleet(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fleet's Redis instead of the embedded one."""
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", redis_url)
    return redis_url


@pytest.fixture
def start_worker(fleet: str, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Starts `replibatch worker` processes of the fleet, each ready when this returns; ends them afterwards.

    `by` names another module and its arguments that run the worker.
    """
    workers: list[Worker] = []

    def start(*options: str, by: Sequence[str] = ("replibatch", "worker"), **environment: str) -> Worker:
        before = _processes(fleet)
        log = tmp_path / f"worker-{len(workers)}.log"
        worker: Worker
        with log.open("wb") as said, Path(os.devnull).open() as nothing:
            if by[0] == "replibatch":
                streams = [nothing.fileno(), said.fileno(), said.fileno()]
                worker = Forked([*by[1:], *options], {**os.environ, **environment}, streams, str(Path.cwd()))
            else:
                command = [sys.executable, "-P", "-m", *by, *options]
                worker = subprocess.Popen(command, stdout=said, stderr=said, env={**os.environ, **environment})
        workers.append(worker)
        until(lambda: worker.poll() is not None or _processes(fleet) - before, what="the worker is ready")
        assert worker.poll() in (None, -signal.SIGKILL), log.read_text()  # one that crashes on purpose may be quick
        return worker

    yield start
    for worker in workers:
        worker.send_signal(signal.SIGCONT)
        worker.terminate()
    for worker in workers:
        try:
            worker.wait(15)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
            raise


def _processes(redis_url: str) -> set[str]:
    with connect(redis_url) as redis:
        return {name for key in redis.scan_iter("rb:*:reports") for name in redis.hkeys(key)}


@pytest.fixture
def script() -> Callable[..., subprocess.Popen[str]]:
    """Runs Python in a process of its own, as a user's script."""

    def start(*arguments: str, code: str | None = None, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, *(["-c", code] if code else []), *arguments]
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    return start


@pytest.fixture
def picture(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a small image file."""

    def make(name: str) -> Path:
        path = tmp_path / name
        Image.new("RGB", (64, 48), (180, 90, 40)).save(path)
        return path

    return make
