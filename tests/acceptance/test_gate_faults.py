"""What dies at the gate: waiters with a hand-off, holders, Redis, its data."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable

import pytest
from redis import Redis

from replibatch import Batch, BatchRequest, enqueue_batch
from replibatch.limits.gate import CLAIM_SECONDS
from replibatch.sandbox import Sandbox
from tests.acceptance.conftest import until
from tests.conftest import RedisServer

pytestmark = pytest.mark.chaos

StartWorker = Callable[..., "subprocess.Popen[bytes]"]
MODEL, LIMIT, LEASE = "qwen/qwen-image", 6, 2


@pytest.fixture(autouse=True)
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLIBATCH_LEASE_SECONDS", str(LEASE))
    monkeypatch.setenv("REPLIBATCH_SETTLE_SECONDS", "2")
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", str(LIMIT))


def batch_of(count: int) -> Batch:
    return enqueue_batch(BatchRequest(f"p{number}", MODEL) for number in range(count))


def gaps_after(sandbox: Sandbox, moment: float) -> float:
    """Seconds from a moment to the next create."""
    return min(at for at in sandbox.books.create_times if at > moment) - moment


def check(sandbox: Sandbox, batch: Batch, count: int) -> None:
    results = batch.results(timeout=60)
    assert [result.success for result in results] == [True] * count
    assert sandbox.books.peak_in_flight <= LIMIT
    assert sandbox.books.paid_twice() == []


def test_a_killed_waiters_handoff_is_in_use_again_within_its_claim_lease(
    sandbox: Sandbox, start_worker: StartWorker
) -> None:
    sandbox.settings.latency_seconds = 1.0
    stopped, survivor = start_worker("--concurrency", "12"), start_worker("--concurrency", "12")
    batch = batch_of(40)
    until(lambda: sandbox.books.in_flight == LIMIT, what="all slots are busy")
    stopped.send_signal(signal.SIGSTOP)  # what it is handed from now on, it never claims
    until(lambda: sandbox.books.in_flight < LIMIT, what="a slot is handed on")
    stopped.kill()
    killed_at = time.time()
    until(lambda: sandbox.books.in_flight == LIMIT, CLAIM_SECONDS + LEASE + 5, "every slot is in use again")
    assert gaps_after(sandbox, killed_at) < CLAIM_SECONDS + 1
    check(sandbox, batch, 40)
    assert survivor.poll() is None


def test_a_killed_holders_slots_are_free_though_every_thread_of_the_survivor_waits(
    sandbox: Sandbox, start_worker: StartWorker
) -> None:
    sandbox.settings.latency_seconds = 3.0
    holder = start_worker("--concurrency", "6")
    batch = batch_of(24)
    until(lambda: sandbox.books.in_flight == LIMIT, what="all slots are busy")
    survivor = start_worker("--concurrency", "4")
    holder.send_signal(signal.SIGKILL)
    killed_at = time.time()
    until(lambda: len(sandbox.books.create_times) >= 2 * LIMIT, 3.0 + LEASE + 5, "each slot is in use again")
    assert sorted(sandbox.books.create_times)[2 * LIMIT - 1] - killed_at < 3.0 + LEASE + 5
    check(sandbox, batch, 24)
    assert survivor.poll() is None


def test_stopped_for_longer_than_a_lease_and_continued(sandbox: Sandbox, start_worker: StartWorker) -> None:
    sandbox.settings.latency_seconds = 0.5
    stopped, _ = start_worker("--concurrency", "12"), start_worker("--concurrency", "12")
    batch = batch_of(60)
    until(lambda: len(sandbox.books.create_times) >= 12, what="it is under way")
    stopped.send_signal(signal.SIGSTOP)
    ends = time.monotonic() + 2.5 * LEASE
    until(lambda: time.monotonic() > ends)
    stopped.send_signal(signal.SIGCONT)
    check(sandbox, batch, 60)


def test_all_state_lost_while_work_is_under_way(fleet: str, sandbox: Sandbox, start_worker: StartWorker) -> None:
    """The jobs are gone with it; what runs still counts, and what comes next waits for it."""
    sandbox.settings.latency_seconds = 4.0
    for _ in range(2):
        start_worker("--concurrency", "12")
    batch_of(40)
    until(lambda: sandbox.books.in_flight == LIMIT, what="all slots are busy")
    with Redis.from_url(fleet) as redis:
        redis.flushall()
    lost_at = time.time()
    batch = batch_of(12)
    until(lambda: len(sandbox.books.create_times) >= 2 * LIMIT, 20, "the slots are used again")
    ended = lost_at + 4.0
    assert sandbox.books.peak_in_flight <= LIMIT
    assert sorted(sandbox.books.create_times)[LIMIT] < ended + 2, "as soon as the first of those that ran is over"
    check(sandbox, batch, 12)


def test_all_state_lost_with_slots_free(fleet: str, sandbox: Sandbox, start_worker: StartWorker) -> None:
    sandbox.settings.latency_seconds = 6.0
    for _ in range(2):
        start_worker("--concurrency", "12")
    batch_of(LIMIT - 2)
    until(lambda: sandbox.books.in_flight == LIMIT - 2, what="most slots are busy")
    with Redis.from_url(fleet) as redis:
        redis.flushall()
    lost_at = time.time()
    batch = batch_of(4)
    until(lambda: sandbox.books.in_flight == LIMIT, 10, "the free slots are used")
    assert gaps_after(sandbox, lost_at) < 2.0 + 0.5, "the pause"
    check(sandbox, batch, 4)


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_redis_away_with_its_data(
    durable_redis: RedisServer,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    sandbox: Sandbox = request.getfixturevalue("sandbox")
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", durable_redis.url)
    monkeypatch.setattr("tests.acceptance.conftest._processes", _processes_of(durable_redis.url))
    start_worker: StartWorker = request.getfixturevalue("start_worker")
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", durable_redis.url)
    sandbox.settings.latency_seconds = 1.0
    for _ in range(2):
        start_worker("--concurrency", "12", REPLIBATCH_REDIS_URL=durable_redis.url)
    batch = batch_of(40)
    until(lambda: sandbox.books.in_flight == LIMIT, what="all slots are busy")
    if how == "killed":
        durable_redis.kill()
        durable_redis.process = durable_redis._start()
    else:
        durable_redis.process.send_signal(signal.SIGSTOP)
        ends = time.monotonic() + 1.5 * LEASE
        until(lambda: time.monotonic() > ends)
        durable_redis.process.send_signal(signal.SIGCONT)
    check(sandbox, batch, 40)


def _processes_of(url: str) -> Callable[[str], set[str]]:
    def processes(_: str) -> set[str]:
        with Redis.from_url(url, decode_responses=True) as redis:
            return {name for key in redis.scan_iter("rb:*:reports") for name in redis.hkeys(key)}

    return processes
