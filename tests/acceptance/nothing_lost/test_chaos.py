"""Everything at once, seeded: workers killed, Redis killed, and every kind of fault of the service in between."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from replibatch import BatchRequest, enqueue_batch
from replibatch.sandbox import Sandbox
from tests.support.custody import MODEL, Start, check_each_once, check_nothing_left
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.chaos

COUNT, LIMIT, WORKERS, THREADS = 400, 40, 4, 25
LATENCY_SECONDS, LEASE_SECONDS, SETTLE_SECONDS = 2.0, 5, 5
KILLS, KILL_EVERY_SECONDS = 8, 3.0
REDIS_DIES_AT = 4  # with this kill
FAULTS = ("500-before", "502-after", "drop-after", "failed-reads", "truncated-output")
DEADLINE_SECONDS = 240.0


@pytest.fixture
def fleet(durable_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", durable_redis.url)
    return durable_redis.url


@pytest.mark.parametrize("seed", [1])
def test_workers_and_redis_killed_and_every_fault_in_between(
    seed: int,
    fleet: str,
    durable_redis: RedisServer,
    sandbox: Sandbox,
    start_worker: Start,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("REPLIBATCH_LEASE_SECONDS", str(LEASE_SECONDS))
    monkeypatch.setenv("REPLIBATCH_SETTLE_SECONDS", str(SETTLE_SECONDS))
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", str(LIMIT))
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "files"))
    sandbox.settings.latency_seconds = LATENCY_SECONDS
    sandbox.settings.seed = seed
    sandbox.settings.fault_rates = dict.fromkeys(FAULTS, 0.02)
    chosen = random.Random(seed)
    workers = [start_worker("--concurrency", str(THREADS)) for _ in range(WORKERS)]
    batch = enqueue_batch(BatchRequest(f"p{number}", MODEL, f"{number}.webp") for number in range(COUNT))

    def replace_worker() -> None:
        workers.append(start_worker("--concurrency", str(THREADS)))

    def replace_redis() -> None:
        durable_redis.kill()
        durable_redis.restart()

    began = time.monotonic()
    with ThreadPoolExecutor(1) as replacing:
        for kill in range(1, KILLS + 1):
            time.sleep(max(0.0, began + kill * KILL_EVERY_SECONDS - time.monotonic()))  # the faults' own rhythm
            workers.pop(chosen.randrange(len(workers))).kill()
            steps = [replacing.submit(replace_redis)] if kill == REDIS_DIES_AT else []
            steps.append(replacing.submit(replace_worker))
    for step in steps:
        step.result()
    results = batch.results(DEADLINE_SECONDS)
    check_each_once(results, COUNT, sandbox, tmp_path / "files")
    assert sandbox.books.peak_in_flight <= LIMIT
    assert all(worker.poll() is None for worker in workers)
    check_nothing_left(fleet)
