"""The records of items of several steps: what is made again, or told to an older copy, is the step it is at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replibatch.jobs import Batches, Jobs, Record
from replibatch.jobs.counts import ATTEMPTS, COST, Counts, of_kind
from replibatch.redisdb.scripts import run_together
from replibatch.requests import Attempt, BatchResult, OutputFile, RoutedRequest, State, StepResult
from replibatch.settings import load
from tests.support.jobs import MODEL, append_requests, open_batch, request, take

FIRST = Attempt(MODEL, "p1", "succeeded", None, None, 1.0, 0.25)
FAILED = Attempt(MODEL, "p2", "failed", "failed", "no", 1.0, 0.0)
NOT_SAVED = Attempt(MODEL, "p3", "failed", "not_saved", "full", 1.0, 0.5)


@pytest.fixture
def other(jobs: Jobs) -> Jobs:
    """Another process of the fleet."""
    return Jobs(jobs.redis, load(), "other/1/process")


def item(name: str = "item") -> RoutedRequest:
    """Two steps."""
    return replace(request(name), then=(replace(request(name), step=2, after=1, prompt="larger"),))


def begin(batches: Batches, batch: str = "one") -> None:
    open_batch(batches, batch)
    append_requests(batches, {"item": item()}, 0, batch)
    batches.close(batch)


def make_first(jobs: Jobs, record: Record | None = None) -> None:
    """Its first step is made, by this process."""
    record = record or take(jobs, "item")
    assert jobs.intend(record, "sent") == "ok"
    assert run_together(jobs.redis, jobs.created_step(record, "p1")) == ["ok"]
    made = StepResult(1, 0, record.request.prompt, MODEL, MODEL, (OutputFile("item.step1.png"),), {}, 0.0)
    assert jobs.next_step(record, record.request.following(made, [FIRST]))


def fail(jobs: Jobs, *attempts: Attempt, number: int = 2) -> None:
    """The second ends so, after these attempts."""
    for earlier in range(len(attempts)):
        record = take(jobs, "item", number + earlier)
        if prediction := attempts[earlier].prediction_id:
            assert run_together(jobs.redis, jobs.created_step(record, prediction)) == ["ok"]
        if earlier < len(attempts) - 1:
            assert jobs.advance(record, MODEL, attempts[: earlier + 1], 0.0)
    settle(jobs, record, State.FAILED, attempts)


def settle(jobs: Jobs, record: Record, state: State, attempts: tuple[Attempt, ...]) -> None:
    every = record.request.all_attempts(attempts)
    cost_usd = sum(each.cost_usd or 0.0 for each in every)
    made = BatchResult("item", "p", MODEL, None, False, attempts=every, cost_usd=cost_usd, state=state)
    assert jobs.settle(record, state, made)


def retry(batches: Batches) -> int:
    """The number of the attempt that it goes on with."""
    assert batches.retry("one", batches.finished("one")) == (1, 0)
    (message,) = batches.top_up("one")
    return message.attempt


def test_who_has_made_a_step_holds_its_item_no_more(jobs: Jobs, other: Jobs, batches: Batches) -> None:
    """Another process goes on with it, and a failed step is made again by the first: it is no older copy."""
    begin(batches)
    make_first(jobs)
    fail(other, FAILED)
    again = jobs.take("item", retry(batches))
    assert again is not None and again.request.step == 2 and again.prediction_id is None


def test_what_is_over_and_forgotten_comes_back_with_no_recall(jobs: Jobs, other: Jobs, batches: Batches) -> None:
    begin(batches)
    make_first(jobs)
    fail(other, FAILED)
    jobs.redis.delete(f"{jobs.prefix}gen:item")  # its time is over
    assert jobs.recall() == 0 and "item" not in jobs.custody()


@pytest.mark.parametrize("earlier", [(), (FAILED,)], ids=["at once", "after a failed attempt"])
def test_a_step_s_output_that_was_not_saved_is_fetched_under_the_name_that_claimed_it(
    jobs: Jobs, batches: Batches, earlier: tuple[Attempt, ...]
) -> None:
    begin(batches)
    make_first(jobs)
    fail(jobs, *earlier, NOT_SAVED)
    for _ in range(2):  # the storage is still full, the first time
        number = retry(batches)
        record = take(jobs, "item", number)
        assert record.prediction_id == "p3" and record.attempts == earlier
        assert jobs.claimed(["p3"]) == {"p3": record.attempt_key}
        assert run_together(jobs.redis, jobs.created_step(record, "p3")) == ["ok"]
        settle(jobs, record, State.FAILED, (*earlier, NOT_SAVED))
    assert batches.state("one").cost_usd == 0.75
    table = Counts(jobs.redis, jobs.prefix).ever()
    counted = {(MODEL, "succeeded"): 1, (MODEL, "not_saved"): 1, **({(MODEL, "failed"): 1} if earlier else {})}
    assert dict(of_kind(table, ATTEMPTS)) == counted, "each attempt once, however often its result is written"
    assert dict(of_kind(table, COST)) == {(MODEL,): 750_000}


def test_a_single_job_whose_output_was_not_saved_goes_on_from_it(jobs: Jobs) -> None:
    whole = request("item")
    assert jobs.enqueue("item", whole, {}, priority=3)
    record = take(jobs, "item")
    assert jobs.advance(record, "next/model", [FAILED], 0.0)
    record = take(jobs, "item", 2)
    assert run_together(jobs.redis, jobs.created_step(record, "p3")) == ["ok"]
    settle(jobs, record, State.FAILED, (FAILED, replace(NOT_SAVED, model="next/model")))
    for _ in range(2):  # the reply was lost
        message = jobs.enqueue("item", whole, {}, priority=3, again=True)
        assert message and (message.attempt, message.model) == (2, "next/model")
    again = take(jobs, "item", 2)
    assert again.prediction_id == "p3" and again.attempts == (FAILED,) and again.counted == 2


def test_a_recall_tells_what_its_batch_has_been_told(jobs: Jobs, other: Jobs, batches: Batches) -> None:
    """An older copy takes over that does not have the record: what is booked and counted is not so twice."""
    begin(batches)
    make_first(jobs)
    fail(other, FAILED)
    record = take(jobs, "item", retry(batches))
    assert (record.booked, record.counted) == (250_000, 1)
    jobs.redis.delete(f"{jobs.prefix}gen:item")
    assert jobs.recall() == 1
    record = jobs.record("item")
    assert record is not None and (record.booked, record.counted) == (250_000, 1)
    settle(jobs, record, State.SUCCEEDED, (replace(FIRST, prediction_id="p4"),))
    assert batches.state("one").cost_usd == 0.5


def test_a_recall_tells_what_an_ended_prediction_has_cost(jobs: Jobs, batches: Batches) -> None:
    """Its owner may cancel it before its output is saved."""
    begin(batches)
    record = take(jobs, "item")
    assert run_together(jobs.redis, jobs.created_step(record, "p1")) == ["ok"]
    assert jobs.requeue(record, paid_usd=0.25)
    record = take(jobs, "item")
    assert record.paid_usd == 0.25
    jobs.redis.delete(f"{jobs.prefix}gen:item")
    assert jobs.recall() == 1
    again = jobs.record("item")
    assert again is not None and again.paid_usd == 0.25
