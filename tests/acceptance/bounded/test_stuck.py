"""Predictions that never end: their items are over in time, the others go on, and the limit holds in the books."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import replibatch
from replibatch import BatchRequest
from replibatch.sandbox import Sandbox
from tests.support.custody import MODEL, Start
from tests.support.waiting import until

pytestmark = [pytest.mark.chaos, pytest.mark.chaos_sample]

TIMEOUT_SECONDS, MOST_LATE_SECONDS = 5, 30
FORMS = ("stuck", "stuck-404", "stuck-409", "stuck-500", "stuck-hang")
LIMIT = 8


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, tmp_path: Path) -> None:
    monkeypatch.setenv("REPLIBATCH_PREDICTION_TIMEOUT_SECONDS", str(TIMEOUT_SECONDS))
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", str(LIMIT))
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "files"))


def test_five_that_never_end(sandbox: Sandbox, start_worker: Start) -> None:
    start_worker("--concurrency", "20")
    began = time.monotonic()
    prompts = [*(f"a fox [[{form}@{MODEL}]]" for form in FORMS), *(f"a wolf {number}" for number in range(20))]
    batch = replibatch.enqueue_batch(
        (BatchRequest(prompt, MODEL, f"{number}.webp", max_retries=1) for number, prompt in enumerate(prompts)),
        max_concurrent=6,
    )
    until(lambda: batch.progress().succeeded >= 20, 25, "the others are made")
    assert time.monotonic() - began < TIMEOUT_SECONDS + MOST_LATE_SECONDS, "unhindered"
    until(lambda: batch.progress().succeeded == 25, 60, "the stuck ones go on to the next model")
    assert time.monotonic() - began < TIMEOUT_SECONDS + MOST_LATE_SECONDS + 10
    assert sandbox.books.peak_in_flight <= LIMIT
    for result in list(batch.results())[:5]:
        assert result.attempts[0].reason == "timeout", result
        assert result.attempts[0].seconds < TIMEOUT_SECONDS + MOST_LATE_SECONDS
        assert result.attempts[0].cost_usd is None, "nobody knows yet what it cost"
    status = replibatch.get_global_status()
    assert status["current_concurrent"] >= sandbox.books.in_flight > 0, "their slots stay held"


def test_one_whose_owner_cancels_it_is_over_in_time_and_its_late_end_frees_its_slot(
    sandbox: Sandbox, start_worker: Start
) -> None:
    start_worker("--concurrency", "4")
    job = replibatch.enqueue(BatchRequest("a fox [[stuck:24]]", MODEL, "fox.webp"))
    until(lambda: sandbox.books.in_flight == 1)
    time.sleep(1.0)  # it runs for a while
    assert job.cancel()
    began = time.monotonic()
    assert job.result(30).state == "canceled"
    assert time.monotonic() - began < 20
    assert sandbox.books.in_flight == 1 and replibatch.get_global_status()["current_concurrent"] == 1
    until(lambda: replibatch.get_global_status()["current_concurrent"] == 0, 30, "its end is seen")
    assert replibatch.get_global_status()["spent_usd"] == pytest.approx(0.025), "and booked"
