"""A worker that holds every slot dies, is told to stop, or stands still, while every thread of the other waits."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from replibatch import get_global_status
from replibatch.sandbox import Sandbox
from tests.support.custody import Start, check_each_once, check_nothing_left, enqueue_jobs
from tests.support.waiting import busy_seconds, until

pytestmark = pytest.mark.chaos

LEASE_SECONDS = 4
PROMPT_RECOVERY_SECONDS = 5.0  # after the lease: promise P5
LIMIT, THREADS = 20, 40
HELD_SECONDS = 20.0  # enough for the other one to start
LEFT_SECONDS = 1.0  # of that, when the holder goes: its predictions are over long before it must have been taken over
DEADLINE_SECONDS = 90.0


@pytest.fixture(autouse=True)
def short_lease(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REPLIBATCH_LEASE_SECONDS", str(LEASE_SECONDS))
    monkeypatch.setenv("REPLIBATCH_SETTLE_SECONDS", "3")
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", str(LIMIT))
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "files"))


@pytest.mark.parametrize(
    ("number", "allowed_seconds"),
    [
        (signal.SIGKILL, LEASE_SECONDS + PROMPT_RECOVERY_SECONDS),
        (signal.SIGSTOP, LEASE_SECONDS + PROMPT_RECOVERY_SECONDS),
        (signal.SIGTERM, PROMPT_RECOVERY_SECONDS),  # it hands over itself: no lease has to lapse
    ],
    ids=["SIGKILL", "SIGSTOP", "SIGTERM"],
)
def test_who_holds_every_slot_goes_while_every_thread_of_the_other_waits(
    number: signal.Signals,
    allowed_seconds: float,
    sandbox: Sandbox,
    start_worker: Start,
    fleet: str,
    tmp_path: Path,
) -> None:
    sandbox.settings.latency_seconds = HELD_SECONDS
    holder = start_worker("--concurrency", str(THREADS))
    jobs = enqueue_jobs(2 * THREADS)
    until(lambda: sandbox.books.in_flight == LIMIT, what="all slots are the first one's")
    sandbox.settings.latency_seconds = 0.5
    other = start_worker("--concurrency", str(THREADS))
    until(lambda: get_global_status()["waiting"] == 2 * THREADS - LIMIT, what="every thread of the other waits")
    over_from = min(sandbox.books.create_times) + HELD_SECONDS
    until(lambda: time.time() > over_from - LEFT_SECONDS)
    assert sandbox.books.in_flight == len(sandbox.books.create_times) == LIMIT, "the holder's, and none is over"
    went_at = time.time()
    holder.send_signal(number)
    until(lambda: len(sandbox.books.create_times) >= 2 * LIMIT, what="each of the slots is in use again")
    assert sorted(sandbox.books.create_times)[2 * LIMIT - 1] - went_at < allowed_seconds + busy_seconds()
    if number == signal.SIGSTOP:
        until(lambda: time.time() - went_at > 2 * LEASE_SECONDS)
        holder.send_signal(signal.SIGCONT)
    results = [job.result(DEADLINE_SECONDS) for job in jobs]
    check_each_once(results, 2 * THREADS, sandbox, tmp_path / "files")
    assert sandbox.books.peak_in_flight == LIMIT and sandbox.books.cancels == 0
    check_nothing_left(fleet)
    assert other.poll() is None
    assert holder.poll() == {signal.SIGKILL: -signal.SIGKILL, signal.SIGSTOP: None, signal.SIGTERM: 0}[number]


def test_told_to_stop_with_fifty_predictions_running(
    sandbox: Sandbox, start_worker: Start, fleet: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "50")
    sandbox.settings.latency_seconds = 15.0
    first = start_worker("--concurrency", "60")
    jobs = enqueue_jobs(60)
    until(lambda: sandbox.books.in_flight == 50, what="fifty predictions are running")
    start_worker("--concurrency", "10")
    began = time.monotonic()
    first.send_signal(signal.SIGTERM)
    assert first.wait(30) == 0
    assert time.monotonic() - began < 5 + busy_seconds()
    assert sandbox.books.in_flight == 50, "they go on"
    sandbox.settings.latency_seconds = 0.5
    until(lambda: len(sandbox.books.create_times) == 60, what="the rest has its turn")
    assert sandbox.books.peak_in_flight == 50
    results = [job.result(DEADLINE_SECONDS) for job in jobs]
    check_each_once(results, 60, sandbox, tmp_path / "files")
    assert sandbox.books.cancels == 0
    check_nothing_left(fleet)
