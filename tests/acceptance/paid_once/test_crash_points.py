"""A worker dies, is told to stop, or stands still, at every step of an attempt: one result, one payment, one file.

Told by the stand-in's books, the results and the files alone.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import replibatch
from replibatch import Batch, BatchRequest
from replibatch.sandbox import Sandbox
from tests.support.crashing_worker import POINTS, await_stop, crashing
from tests.support.custody import MODEL, Start, Worker, check_each_once, check_nothing_left
from tests.support.waiting import until

pytestmark = pytest.mark.chaos

LEASE_SECONDS, SETTLE_SECONDS = 2, 2
LIMIT, PROMPTS = 3, 12
DEADLINE_SECONDS = 60.0

# What the stand-in must do for a step to be taken at all.
FAULTS = {
    "looking for a lost create": "[[drop-after:1]]",
    "before the next attempt is recorded": f"[[failed@{MODEL}]]",
    "between advance and publishing the next attempt": f"[[failed@{MODEL}]]",
    "between publishing the next attempt and noting it": f"[[failed@{MODEL}]]",
}
OF_AN_ATTEMPT = list(POINTS)[: list(POINTS).index("a step made, before the next is recorded")]
KILLED, NOBODY_LEFT, TOLD_TO_STOP, STANDS_STILL = WAYS = range(4)


def every_point(way: int) -> list[Any]:
    """Every step of an attempt; CI's sample hits each in one of the ways."""
    sampled = pytest.mark.chaos_sample
    return [
        pytest.param(point, marks=sampled if number % len(WAYS) == way else ())
        for number, point in enumerate(OF_AN_ATTEMPT)
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
        return start_worker("--concurrency", "4", by=crashing(point, number, tmp_path / mark))

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
    check_each_once([by_place[place] for place in sorted(by_place)], PROMPTS, sandbox, files)
    assert sandbox.books.peak_in_flight <= LIMIT
    check_nothing_left(redis_url)


@pytest.mark.parametrize("point", every_point(KILLED))
def test_killed_with_another_worker_alive(
    point: str, start_worker: Start, start_crashing: Start, sandbox: Sandbox, tmp_path: Path, fleet: str
) -> None:
    start_worker("--concurrency", "2")
    victim = start_crashing(point, signal.SIGKILL)
    batch = submit(FAULTS.get(point, ""))
    assert victim.wait(DEADLINE_SECONDS) == -signal.SIGKILL
    check(batch, sandbox, tmp_path / "files", fleet)


@pytest.mark.parametrize("point", every_point(NOBODY_LEFT))
def test_killed_with_nobody_left_and_a_new_worker_later(
    point: str, start_worker: Start, start_crashing: Start, sandbox: Sandbox, tmp_path: Path, fleet: str
) -> None:
    victim = start_crashing(point, signal.SIGKILL)
    batch = submit(FAULTS.get(point, ""))
    assert victim.wait(DEADLINE_SECONDS) == -signal.SIGKILL
    start_worker("--concurrency", "4")
    check(batch, sandbox, tmp_path / "files", fleet)


@pytest.mark.parametrize("point", every_point(TOLD_TO_STOP))
def test_told_to_stop(
    point: str, start_worker: Start, start_crashing: Start, sandbox: Sandbox, tmp_path: Path, fleet: str
) -> None:
    start_worker("--concurrency", "2")
    victim = start_crashing(point, signal.SIGTERM)
    batch = submit(FAULTS.get(point, ""))
    assert victim.wait(DEADLINE_SECONDS) == 0
    check(batch, sandbox, tmp_path / "files", fleet)
    assert sandbox.books.cancels == 0


@pytest.mark.parametrize("point", every_point(STANDS_STILL))
def test_stands_still_for_two_leases(
    point: str, start_worker: Start, start_crashing: Start, sandbox: Sandbox, tmp_path: Path, fleet: str
) -> None:
    start_worker("--concurrency", "2")
    victim = start_crashing(point, signal.SIGSTOP)
    batch = submit(FAULTS.get(point, ""))
    await_stop(victim)
    time.sleep(2 * LEASE_SECONDS)  # the fault itself
    victim.send_signal(signal.SIGCONT)
    check(batch, sandbox, tmp_path / "files", fleet)
    assert victim.poll() is None


@pytest.mark.chaos_sample
def test_stands_still_until_the_others_have_made_everything(
    start_worker: Start, start_crashing: Start, sandbox: Sandbox, tmp_path: Path, fleet: str
) -> None:
    """By then nobody looks for its create any more: it must not be sent."""
    start_worker("--concurrency", "2")
    victim = start_crashing("right before the POST is written", signal.SIGSTOP)
    batch = submit()
    await_stop(victim)
    check(batch, sandbox, tmp_path / "files", fleet)
    victim.send_signal(signal.SIGCONT)
    log = tmp_path / "worker-1.log"
    until(lambda: "was not sent" in log.read_text() or len(sandbox.books.create_times) > PROMPTS)
    check(batch, sandbox, tmp_path / "files", fleet)
    assert len(sandbox.books.create_times) == PROMPTS


@pytest.mark.chaos_sample
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


@pytest.mark.chaos_sample
@pytest.mark.parametrize("point", ["taking over", "putting back what was taken over"])
def test_killed_while_it_takes_over(
    point: str, start_worker: Start, start_crashing: Start, sandbox: Sandbox, tmp_path: Path, fleet: str
) -> None:
    first = start_crashing("waiting for the prediction", signal.SIGKILL, "first")
    batch = submit()
    assert first.wait(DEADLINE_SECONDS) == -signal.SIGKILL
    second = start_crashing(point, signal.SIGKILL, "second")
    assert second.wait(DEADLINE_SECONDS) == -signal.SIGKILL
    start_worker("--concurrency", "2")
    check(batch, sandbox, tmp_path / "files", fleet)


@pytest.mark.chaos_sample
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
