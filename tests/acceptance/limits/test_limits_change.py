"""Limits that change while work is under way hold within two seconds, in every process."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from replibatch import BatchRequest, enqueue_batch
from replibatch.sandbox import Sandbox
from tests.support.custody import MODEL
from tests.support.limited_account import Start
from tests.support.waiting import busy_seconds, until

EFFECTIVE_SECONDS, SLACK_SECONDS = 2.0, 3.0
RUNS_SECONDS = 0.5


def set_limit(*options: str) -> None:
    subprocess.run([sys.executable, "-P", "-m", "replibatch", "limits", *options], check=True, capture_output=True)


@pytest.mark.chaos  # it counts seconds: alone on the machine
def test_limits_hold_in_every_worker_within_two_seconds(
    fleet: str, sandbox: Sandbox, start_worker: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "4")
    sandbox.settings.latency_seconds = RUNS_SECONDS
    books = sandbox.books
    for _ in range(2):
        start_worker("--concurrency", "12")
    batch = enqueue_batch(BatchRequest(f"p{number}", MODEL) for number in range(400))

    def peak_from_now_on(*, within: float, limit: int) -> None:
        """The new limit is reached in time, and never passed."""
        until(lambda: books.in_flight == limit, within + busy_seconds(), f"{limit} in flight")
        books.reset()
        watched_until = time.monotonic() + 2 * RUNS_SECONDS
        until(lambda: time.monotonic() > watched_until)
        assert books.peak_in_flight == limit

    peak_from_now_on(within=30.0, limit=4)
    set_limit("set", "--max-concurrent", "9")
    peak_from_now_on(within=EFFECTIVE_SECONDS + SLACK_SECONDS, limit=9)
    set_limit("set", "--max-concurrent", "3")
    peak_from_now_on(within=EFFECTIVE_SECONDS + RUNS_SECONDS + SLACK_SECONDS, limit=3)
    set_limit("clear")
    peak_from_now_on(within=EFFECTIVE_SECONDS + SLACK_SECONDS, limit=4)
    careful = start_worker("--concurrency", "2", REPLICATE_GLOBAL_MAX_CONCURRENT="2")  # the lowest that was given
    peak_from_now_on(within=EFFECTIVE_SECONDS + RUNS_SECONDS + SLACK_SECONDS, limit=2)
    careful.terminate()
    careful.wait(15)
    peak_from_now_on(within=EFFECTIVE_SECONDS + SLACK_SECONDS, limit=4)
    batch.cancel()
