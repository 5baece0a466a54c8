"""Workers on three hosts, each in a network namespace of its own; one is cut off while its predictions run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from replibatch import Batch, BatchRequest, enqueue_batch
from replibatch.limits import Limiter
from replibatch.producer import open_producer
from replibatch.sandbox import Sandbox, SandboxSettings
from tests.support import PROJECT
from tests.support.hosts import HUB, Network, require_namespaces
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

MODEL, TOKEN = "qwen/qwen-image", "r8_of_the_tests"
LIMIT, LEASE_SECONDS = 9, 3
PER_WINDOW, WINDOW_SECONDS = 15, 5
PATIENCE_SECONDS = 120.0
PORT = 8077


@pytest.fixture
def network() -> Iterator[Network]:
    require_namespaces()
    with Network(3) as network:
        yield network


@pytest.fixture
def redis(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """On the hub, for the hosts by its address; for this process, which is on none of them, by its socket."""
    listen = (("bind", network.hub_address), ("port", "6379"), ("protected-mode", "no"))
    folder = tmp_path_factory.mktemp("redis")
    server = RedisServer(folder, durable=True, directives=listen, within=network.on(HUB))
    yield server
    server.stop()


@pytest.fixture
def sandbox(network: Network) -> Iterator[Sandbox]:
    """On the hub, in this process."""
    with network.at_hub():
        server = Sandbox(SandboxSettings(latency_seconds=4.0), host=network.hub_address).start()
    yield server
    server.stop()


@pytest.fixture
def workers(
    network: Network, redis: RedisServer, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[dict[int, subprocess.Popen[bytes]]]:
    """One on each host, by its number; all on one shared folder."""
    monkeypatch.setenv("REPLICATE_BASE_URL", f"http://127.0.0.1:{PORT}")  # on each host, relayed to the hub
    relays = [relay(network, number, sandbox) for number in network.numbers]
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", redis.url)
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "shared"))
    monkeypatch.setenv("REPLIBATCH_RATE_WINDOW_SECONDS", str(WINDOW_SECONDS))
    monkeypatch.setenv("REPLIBATCH_LEASE_SECONDS", str(LEASE_SECONDS))
    theirs = {
        **os.environ,
        "REPLIBATCH_REDIS_URL": f"redis://{network.hub_address}:6379/0",
        "REPLICATE_API_TOKEN": TOKEN,
        "REPLICATE_GLOBAL_MAX_CONCURRENT": str(LIMIT),
        "REPLICATE_REQUESTS_PER_MINUTE": str(PER_WINDOW),
        "REPLIBATCH_SETTLE_SECONDS": "3",
    }
    started: dict[int, subprocess.Popen[bytes]] = {}
    for number in network.numbers:
        command = [*network.on(number), sys.executable, "-P", "-m", "replibatch", "worker", "--concurrency", "6"]
        with (tmp_path / f"host-{number}.log").open("wb") as said:
            started[number] = subprocess.Popen(command, stdout=said, stderr=said, env=theirs)
    try:
        until(lambda: live() == {worker.pid for worker in started.values()}, what="all workers are ready")
        yield started
    finally:
        for each in relays:
            each.kill()
            each.wait()
        for worker in started.values():
            worker.terminate()
        for worker in started.values():
            try:
                worker.wait(30)
            except subprocess.TimeoutExpired:
                worker.kill()
                raise


def relay(network: Network, number: int, sandbox: Sandbox) -> subprocess.Popen[bytes]:
    """The way to the stand-in from a host's own loopback: only there may an API be reached without TLS."""
    host, port = str(urlsplit(sandbox.url).hostname), str(urlsplit(sandbox.url).port)
    command = [*network.on(number), sys.executable, "-m", "tests.support.relay", str(PORT), host, port]
    return subprocess.Popen(command, cwd=PROJECT)


def limiter() -> Limiter:
    return open_producer().limiter


def live() -> set[int]:
    """The process ids of the workers that were heard of within a lease."""
    return {report["pid"] for report in limiter().status().processes.values() if "pid" in report}


def predictions_of(pid: int) -> int:
    """How many predictions a worker answers for."""
    redis, prefix = open_producer().redis, limiter().prefix
    ids = [each for key in redis.scan_iter(f"{prefix}custody:*/{pid}/*") for each in redis.smembers(key)]
    return sum(redis.hexists(f"{prefix}gen:{each}", "prediction") for each in ids)


def batch_of(count: int, what: str) -> Batch:
    return enqueue_batch(BatchRequest(f"{what} {number}", MODEL) for number in range(count))


def check(batch: Batch, sandbox: Sandbox, created: int, folder: Path) -> None:
    """Every item was made, saved and paid for once, within both limits, in the stand-in's own books."""
    results = batch.results(timeout=PATIENCE_SECONDS)
    assert [result.error for result in results if not result.success] == []
    assert all((folder / path).stat().st_size > 0 for result in results for path in result.file_paths)
    assert sandbox.books.paid_twice() == []
    assert len(sandbox.books.create_times) == created
    assert sandbox.books.peak_in_flight <= LIMIT
    assert sandbox.books.most_posts(WINDOW_SECONDS) <= PER_WINDOW


def test_a_host_that_is_cut_off_loses_nothing_and_carries_on_once_it_is_joined_again(
    network: Network, sandbox: Sandbox, workers: dict[int, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    batch = batch_of(24, "before")
    until(lambda: sum(predictions_of(worker.pid) for worker in workers.values()) == LIMIT, what="all slots are busy")
    cut_off = max(network.numbers, key=lambda number: predictions_of(workers[number].pid))
    pid = workers[cut_off].pid
    assert predictions_of(pid) > 1
    others = [number for number in network.numbers if number != cut_off]
    network.cut(cut_off)
    until(lambda: pid not in live(), what="it is taken for dead")
    check(batch, sandbox, 24, tmp_path / "shared")  # by the others: it is still cut off
    assert workers[cut_off].poll() is None and live() == {workers[number].pid for number in others}

    network.join(cut_off)
    until(lambda: pid in live(), PATIENCE_SECONDS, "it is back")
    for number in others:
        workers[number].terminate()
    for number in others:
        assert workers[number].wait(30) == 0
    check(batch_of(6, "after"), sandbox, 30, tmp_path / "shared")  # nobody else is left to make them
    said = (tmp_path / f"host-{cut_off}.log").read_text()
    assert "Traceback" not in said and TOKEN not in said
