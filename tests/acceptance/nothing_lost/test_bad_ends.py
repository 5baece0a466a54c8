"""Predictions that end otherwise than the model would have it: erased too soon, never begun, never over."""

from __future__ import annotations

from pathlib import Path

import pytest

import replibatch
from replibatch import BatchRequest, BatchResult
from replibatch.sandbox import Sandbox
from tests.support.custody import MODEL, PRICE_USD, Start, check_nothing_left, is_recorded
from tests.support.waiting import until

TIMEOUT_SECONDS = 5


@pytest.fixture(autouse=True)
def storage(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, tmp_path: Path) -> None:
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "files"))
    monkeypatch.setenv("REPLIBATCH_LEASE_SECONDS", "2")


def one(prompt: str, **options: bool) -> BatchResult:
    return replibatch.enqueue(BatchRequest(prompt, MODEL, "one.webp"), **options).result(60)


def reasons(result: BatchResult) -> list[str | None]:
    return [attempt.reason for attempt in result.attempts]


class TestErased:
    def test_it_is_said_and_not_paid_for_again(self, sandbox: Sandbox, start_worker: Start) -> None:
        sandbox.settings.erase_after_seconds = 0.0
        start_worker()
        result = one("p")
        assert not result.success and not result.placeholder and not result.file_paths
        assert result.error is not None and "REPLIBATCH_REGENERATE_ERASED" in result.error
        assert reasons(result) == ["erased"] and result.cost_usd == pytest.approx(PRICE_USD)
        assert len(sandbox.books.create_times) == 1

    def test_it_is_made_again_where_the_user_wants_so(self, sandbox: Sandbox, start_worker: Start) -> None:
        sandbox.settings.erase_after_seconds = 0.0
        start_worker(REPLIBATCH_REGENERATE_ERASED="true")
        job = replibatch.enqueue(BatchRequest("p", MODEL, "one.webp"))
        until(lambda: len(sandbox.books.create_times) >= 2, what="it is made again")
        sandbox.settings.erase_after_seconds = 3600.0
        result = job.result(60)
        assert result.success and set(reasons(result)[:-1]) == {"erased"}
        assert result.cost_usd == pytest.approx(len(result.attempts) * PRICE_USD)
        assert len(sandbox.books.create_times) == len(result.attempts)

    def test_but_not_without_end(self, sandbox: Sandbox, start_worker: Start) -> None:
        sandbox.settings.erase_after_seconds = 0.0
        start_worker(REPLIBATCH_REGENERATE_ERASED="true", REPLIBATCH_MAX_RETRIES="2")
        result = one("p")
        assert not result.success and reasons(result) == ["erased"] * 3

    def test_a_worker_that_died_and_one_that_comes_too_late(
        self, sandbox: Sandbox, start_worker: Start, fleet: str
    ) -> None:
        sandbox.settings.latency_seconds = 1.0
        first = start_worker()
        job = replibatch.enqueue(BatchRequest("p", MODEL, "one.webp"))
        until(lambda: is_recorded(fleet, job), what="it runs")
        first.kill()
        sandbox.settings.erase_after_seconds = 0.0
        until(lambda: sandbox.books.in_flight == 0, what="it is over")
        start_worker()
        result = job.result(60)
        assert reasons(result) == ["erased"] and len(sandbox.books.create_times) == 1


class TestDeadline:
    def test_one_that_never_began_counts_as_timed_out_and_costs_nothing(
        self, sandbox: Sandbox, start_worker: Start
    ) -> None:
        start_worker()
        result = one(f"p [[aborted@{MODEL}]]")
        assert result.success and result.model_used != MODEL
        assert reasons(result) == ["timeout", None] and result.attempts[0].cost_usd == 0

    @pytest.mark.chaos
    def test_one_that_hangs_is_ended_by_replicate(self, sandbox: Sandbox, start_worker: Start) -> None:
        start_worker(REPLIBATCH_PREDICTION_TIMEOUT_SECONDS=str(TIMEOUT_SECONDS))
        result = one("p [[hang]]", fallback=False)
        assert reasons(result) == ["timeout"] and sandbox.books.cancels == 0

    @pytest.mark.chaos
    @pytest.mark.parametrize("killed", [False, True], ids=["watched", "taken over"])
    def test_one_that_outlives_its_deadline_is_canceled_here(
        self, killed: bool, sandbox: Sandbox, start_worker: Start, fleet: str
    ) -> None:
        times = {"REPLIBATCH_PREDICTION_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS)}
        first = start_worker(**times)
        job = replibatch.enqueue(BatchRequest("p [[endless]]", MODEL, "one.webp"), fallback=False)
        until(lambda: sandbox.books.in_flight == 1, what="it runs")
        if killed:
            first.kill()
            start_worker(**times)
        result = job.result(90)
        assert reasons(result) == ["timeout"]
        assert sandbox.books.cancels == 1 and sandbox.books.in_flight == 0

    @pytest.mark.chaos
    @pytest.mark.parametrize("how", ["watched", "taken over", "canceled"])
    def test_one_that_replicate_does_not_know_any_more_ends_too(
        self, how: str, sandbox: Sandbox, start_worker: Start, fleet: str
    ) -> None:
        times = {"REPLIBATCH_PREDICTION_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS)}
        first = start_worker(**times)
        job = replibatch.enqueue(BatchRequest("p [[hang]]", MODEL, "one.webp"))
        until(lambda: is_recorded(fleet, job), what="it runs")
        if how == "taken over":
            start_worker(**times)
            first.kill()
        sandbox.settings.username = "another"  # which has no such prediction
        if how == "canceled":
            job.cancel()
        result = job.result(90)
        if how == "canceled":  # as its owner wanted it; what it cost is known once its end is
            assert reasons(result) == ["canceled"] and result.error == "canceled" and result.cost_usd is None
        else:
            assert reasons(result) == ["erased"] and "does not know" in str(result.error)
            assert result.cost_usd == pytest.approx(PRICE_USD)
        assert len(sandbox.books.create_times) == 1
        check_nothing_left(fleet)


def test_where_no_placeholder_can_be_saved_the_result_says_so(
    sandbox: Sandbox, start_worker: Start, tmp_path: Path
) -> None:
    start_worker()
    (tmp_path / "files" / "in").mkdir(parents=True)
    (tmp_path / "files" / "in" / "the-way").touch()  # a disk that is full, or read-only, is an OSError as well
    job = replibatch.enqueue(BatchRequest("p [[failed]]", MODEL, "in/the-way/one.webp"))
    result = job.result(60)
    assert not result.success and not result.placeholder and not result.file_paths
    assert set(reasons(result)) == {"failed"} and "in/the-way" in "".join(result.warnings)
    assert len(sandbox.books.create_times) == len(result.attempts)
