"""A worker dies, is told to stop, or stands still, at every step of an attempt: one result, one payment, one file.

Told by the stand-in's books, the results and the files alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

import replibatch
from replibatch import Batch, BatchRequest, BatchResult
from replibatch.sandbox import Sandbox
from tests.acceptance.conftest import until
from tests.acceptance.crashing_worker import POINTS

pytestmark = pytest.mark.chaos

MODEL = "qwen/qwen-image"
LEASE_SECONDS, SETTLE_SECONDS = 2, 2
LIMIT, PROMPTS = 3, 12
DEADLINE_SECONDS = 20.0

Worker = subprocess.Popen[bytes]
Start = Callable[..., Worker]

# What the stand-in must do for a step to be taken at all.
FAULTS = {
    "looking for a lost create": "[[drop-after:1]]",
    "before the next attempt is recorded": f"[[failed@{MODEL}]]",
    "between advance and publishing the next attempt": f"[[failed@{MODEL}]]",
    "between publishing the next attempt and noting it": f"[[failed@{MODEL}]]",
}
OF_AN_ATTEMPT = [
    point
    for point in POINTS
    if point not in ("before handing over", "after handing over", "taking over", "putting back what was taken over")
]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, tmp_path: Path) -> None:
    """Short leases, few slots, short predictions."""
    monkeypatch.setenv("REPLIBATCH_LEASE_SECONDS", str(LEASE_SECONDS))
    monkeypatch.setenv("REPLIBATCH_SETTLE_SECONDS", str(SETTLE_SECONDS))
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", str(LIMIT))
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "files"))
    sandbox.settings.latency_seconds = 0.3


@pytest.fixture
def start_crashing(start_worker: Start, tmp_path: Path) -> Callable[..., Worker]:
    """Starts a worker that a signal hits at a point."""

    def start(point: str, number: signal.Signals, mark: str = "hit") -> Worker:
        launcher = ("tests.acceptance.crashing_worker", point, number.name, str(tmp_path / mark))
        return start_worker("--concurrency", "4", by=launcher)

    return start


def submit(fault: str = "") -> Batch:
    """A batch of more generations than slots, and than either worker has threads."""
    return replibatch.enqueue_batch(
        BatchRequest(f"p{number} {fault}", MODEL, f"{number}.webp") for number in range(PROMPTS)
    )


def check(batch: Batch, sandbox: Sandbox, files: Path, redis_url: str) -> None:
    """Every request has its one result, was paid for once and has its one file; nothing is left behind."""
    ends = time.monotonic() + DEADLINE_SECONDS
    by_place = dict(batch.finished(stop=lambda state: time.monotonic() > ends))
    results: list[BatchResult] = [by_place[place] for place in sorted(by_place)]
    assert [result.error for result in results] == [None] * PROMPTS
    assert sandbox.books.paid_twice() == []
    assert set(sandbox.books.billed_by_prompt().values()) == {1}
    assert len(sandbox.books.billed_by_prompt()) == PROMPTS
    assert sandbox.books.peak_in_flight <= LIMIT
    made = {path.name for path in files.iterdir() if not path.name.startswith(".")}
    assert made == {f"{number}.webp" for number in range(PROMPTS)}
    assert all(result.cost_usd == pytest.approx(0.025) for result in results)
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        until(lambda: leftovers(redis) == [], 10, f"nothing is left: {leftovers(redis)}")


def leftovers(redis: Redis) -> list[str]:
    """The account's keys that are there only while there is work."""
    kinds = ("slots", "granted", "creating", "waiters", "tickets", "queued", "canceling", "batches:feeding")
    return [
        key
        for key in redis.scan_iter("rb:*")
        if key.rpartition(":")[2] in kinds or ":custody:" in key or ":queued:" in key or key.endswith(":feeding")
    ]


@pytest.mark.parametrize("point", OF_AN_ATTEMPT)
def test_killed_with_another_worker_alive(
    point: str, start_worker: Start, start_crashing: Start, sandbox: Sandbox, tmp_path: Path, fleet: str
) -> None:
    start_worker("--concurrency", "2")
    victim = start_crashing(point, signal.SIGKILL)
    batch = submit(FAULTS.get(point, ""))
    assert victim.wait(DEADLINE_SECONDS) == -signal.SIGKILL
    check(batch, sandbox, tmp_path / "files", fleet)


@pytest.mark.chaos
@pytest.mark.parametrize("point", OF_AN_ATTEMPT)
def test_killed_with_nobody_left_and_a_new_worker_later(
    point: str, start_worker: Start, start_crashing: Start, sandbox: Sandbox, tmp_path: Path, fleet: str
) -> None:
    victim = start_crashing(point, signal.SIGKILL)
    batch = submit(FAULTS.get(point, ""))
    assert victim.wait(DEADLINE_SECONDS) == -signal.SIGKILL
    start_worker("--concurrency", "4")
    check(batch, sandbox, tmp_path / "files", fleet)


@pytest.mark.chaos
@pytest.mark.parametrize("point", OF_AN_ATTEMPT)
def test_told_to_stop(
    point: str, start_worker: Start, start_crashing: Start, sandbox: Sandbox, tmp_path: Path, fleet: str
) -> None:
    start_worker("--concurrency", "2")
    victim = start_crashing(point, signal.SIGTERM)
    batch = submit(FAULTS.get(point, ""))
    assert victim.wait(DEADLINE_SECONDS) == 0
    check(batch, sandbox, tmp_path / "files", fleet)
    assert sandbox.books.cancels == 0


@pytest.mark.chaos
@pytest.mark.parametrize("point", OF_AN_ATTEMPT)
def test_stands_still_for_two_leases(
    point: str, start_worker: Start, start_crashing: Start, sandbox: Sandbox, tmp_path: Path, fleet: str
) -> None:
    start_worker("--concurrency", "2")
    victim = start_crashing(point, signal.SIGSTOP)
    batch = submit(FAULTS.get(point, ""))
    _, status = os.waitpid(victim.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    time.sleep(2 * LEASE_SECONDS)  # the fault itself
    victim.send_signal(signal.SIGCONT)
    check(batch, sandbox, tmp_path / "files", fleet)
    assert victim.poll() is None


@pytest.mark.chaos
@pytest.mark.parametrize("point", ["before handing over", "after handing over"])
def test_killed_while_it_hands_over(
    point: str, start_worker: Start, start_crashing: Start, sandbox: Sandbox, tmp_path: Path, fleet: str
) -> None:
    start_worker("--concurrency", "2")
    victim = start_crashing(point, signal.SIGKILL)
    batch = submit()
    until(lambda: sandbox.books.in_flight == LIMIT, what="predictions are running")
    victim.send_signal(signal.SIGTERM)
    assert victim.wait(DEADLINE_SECONDS) == -signal.SIGKILL
    check(batch, sandbox, tmp_path / "files", fleet)


@pytest.mark.chaos
@pytest.mark.parametrize("point", ["taking over", "putting back what was taken over"])
def test_killed_while_it_takes_over(
    point: str, start_worker: Start, start_crashing: Start, sandbox: Sandbox, tmp_path: Path, fleet: str
) -> None:
    first = start_crashing("waiting for the prediction", signal.SIGKILL, "first")
    batch = submit()
    assert first.wait(DEADLINE_SECONDS) == -signal.SIGKILL
    second = start_crashing(point, signal.SIGKILL, "second")
    start_worker("--concurrency", "2")
    until(lambda: second.poll() is not None or batch.progress().finished == PROMPTS, DEADLINE_SECONDS)
    check(batch, sandbox, tmp_path / "files", fleet)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_canceled_while_the_post_is_unanswered(
    number: signal.Signals, start_worker: Start, sandbox: Sandbox, tmp_path: Path, fleet: str
) -> None:
    """It is found in the list, canceled at Replicate, and nothing else is created."""
    sandbox.settings.latency_seconds = 30.0
    victim = start_worker("--concurrency", "2")
    job = replibatch.enqueue(BatchRequest("unanswered [[hang-reply]]", MODEL, "never.webp"))
    until(lambda: sandbox.books.in_flight == 1, what="the POST has arrived")
    assert job.cancel()
    victim.send_signal(number)
    start_worker("--concurrency", "2")
    assert job.result(DEADLINE_SECONDS).state == "canceled"
    assert sandbox.books.cancels == 1 and sandbox.books.in_flight == 0
    assert len(sandbox.books.create_times) == 1
    assert not list((tmp_path / "files").glob("*.webp"))
