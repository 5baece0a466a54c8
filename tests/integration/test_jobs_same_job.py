"""The same id in two batches, or in two runs, is the same job: followed, handed on, forgotten."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replibatch.broker.publish import BULK
from replibatch.jobs import Batches, Jobs
from replibatch.jobs.holds import PAUSED
from replibatch.redisdb import keys
from replibatch.redisdb.scripts import run_together
from replibatch.requests import Attempt, BatchResult, State, StepResult
from tests.support.jobs import MODEL, append_requests, closed_batch, open_batch, request, take


def succeed(jobs: Jobs, name: str) -> BatchResult:
    result = BatchResult(name, f"prompt {name}", MODEL, MODEL, True, cost_usd=0.5)
    jobs.settle(take(jobs, name), State.SUCCEEDED, result)
    return result


def test_a_second_batch_follows_what_is_on_its_way_and_counts_what_succeeded(jobs: Jobs, batches: Batches) -> None:
    assert closed_batch(batches, "one", "a", "b") == ["a", "b"]
    succeed(jobs, "a")
    assert closed_batch(batches, "two", "b", "a", "c") == ["c"]
    assert batches.state("two").succeeded == 1 and batches.outstanding("two") == {"b", "c"}
    succeed(jobs, "b")
    succeed(jobs, "c")
    assert batches.state("two").is_over and batches.state("two").succeeded == 3
    assert batches.state("two").cost_usd == pytest.approx(0.5)  # of its own alone
    assert [(each.id, each.index) for each in batches.finished("two")] == [("a", 1), ("b", 0), ("c", 2)]


def test_what_one_batch_puts_back_its_follower_gets_as_its_own(jobs: Jobs, batches: Batches) -> None:
    closed_batch(batches, "one", "a")
    assert closed_batch(batches, "two", "x", "a") == ["x"]
    batches.hold("one", PAUSED)
    assert batches.held("one") == PAUSED and not batches.held("two")
    run_together(jobs.redis, jobs.put_back_step(take(jobs, "a"), PAUSED))
    assert batches.state("one").pending == 1 and batches.state("one").held == PAUSED
    assert batches.outstanding("two") == {"x"} and "two" in batches.feeding()
    assert [message.id for message in batches.top_up("two")] == ["a"]
    succeed(jobs, "a")
    succeed(jobs, "x")
    assert batches.state("two").is_over and batches.state("two").succeeded == 2
    assert [message.id for message in batches.hold("one", "")] == []  # it has been made meanwhile
    assert batches.state("one").succeeded == 1 and batches.state("one").is_over


def test_once_it_may_what_waits_for_its_model_goes_on_too(jobs: Jobs, batches: Batches) -> None:
    """Given again, the request lets the job on its way go on with another model; the caller's own data does not."""
    yielding = keys.YIELDING.at(jobs.prefix)
    closed_batch(batches, "one", "a", "b")
    own = replace(request("b"), fields={"on_outage": "fallback"})
    open_batch(batches, "two")
    append_requests(batches, {"a": replace(request("a"), on_outage="fallback"), "b": own}, 0, "two")
    assert jobs.redis.smembers(yielding) == {"a"}
    assert take(jobs, "b").request == request("b")
    record = take(jobs, "a")
    assert record.request == replace(request("a"), on_outage="fallback")
    run_together(jobs.redis, jobs.put_back_step(record, PAUSED))
    assert not jobs.redis.exists(yielding)
    batches.hold("two", "")
    assert take(jobs, "a").request.on_outage == "fallback", "it stays so"


def test_a_single_job_asked_for_again_may_go_on_too(jobs: Jobs) -> None:
    jobs.enqueue("a", request("a"), {}, priority=BULK)
    jobs.enqueue("a", request("a"), {}, priority=BULK)
    assert not jobs.redis.exists(keys.YIELDING.at(jobs.prefix))
    jobs.enqueue("a", replace(request("a"), on_outage="fallback"), {}, priority=BULK)
    assert jobs.redis.smembers(keys.YIELDING.at(jobs.prefix)) == {"a"}
    succeed(jobs, "a")
    assert not jobs.redis.exists(keys.YIELDING.at(jobs.prefix))
    jobs.enqueue("a", replace(request("a"), on_outage="fallback"), {}, priority=BULK)
    assert not jobs.redis.exists(keys.YIELDING.at(jobs.prefix)), "it has its result"


def test_a_step_made_again_may_go_on_too(jobs: Jobs, batches: Batches) -> None:
    item = replace(request("a"), then=(replace(request("a"), step=2, after=1),))
    open_batch(batches, "one")
    append_requests(batches, {"a": item}, 0, "one")
    record = take(jobs, "a")
    made = StepResult(1, 0, "p", MODEL, MODEL, (), {}, 0.0)
    attempt = Attempt(MODEL, "p1", "succeeded", None, None, 0.1, 0.5)
    following = record.request.following(made, [attempt])
    assert jobs.next_step(record, following)
    result = BatchResult("a", "p", MODEL, None, False, state=State.FAILED, attempts=following.paid)
    jobs.settle(take(jobs, "a", 2), State.FAILED, result)
    open_batch(batches, "two")
    append_requests(batches, {"a": replace(item, on_outage="fallback")}, 0, "two")
    again = take(jobs, "a").request
    assert again == replace(following, on_outage="fallback")


def test_only_what_has_its_result_is_forgotten(jobs: Jobs, batches: Batches) -> None:
    closed_batch(batches, "one", "a", "b")
    result = succeed(jobs, "a")
    assert jobs.succeeded(["a", "b", "never"]) == {"a": result}
    assert jobs.forget(["a", "b", "never"]) == 1
    assert jobs.outcome("a")[0] == "" and jobs.outcome("b")[0] == "publishing"
    assert closed_batch(batches, "two", "a", "b") == ["a"]


def test_in_flight_is_what_has_a_prediction_and_no_result(jobs: Jobs, batches: Batches) -> None:
    closed_batch(batches, "one", "a", "b")
    assert batches.in_flight("one") == 0
    record = take(jobs, "a")
    run_together(jobs.redis, jobs.created_step(record, "prediction-1"))
    assert batches.in_flight("one") == 1
    result = BatchResult("a", "prompt a", MODEL, MODEL, True)
    jobs.settle(record, State.SUCCEEDED, result)
    assert batches.in_flight("one") == 0 and batches.outstanding("one") == {"b"}


def test_the_newest_batches_come_first_and_expired_ones_are_forgotten(jobs: Jobs, batches: Batches) -> None:
    for number, batch in enumerate(("old", "gone", "new")):
        closed_batch(batches, batch, f"{batch}-1")
        jobs.redis.zadd(f"{jobs.prefix}batches", {batch: 1000.0 * number})
    jobs.redis.delete(f"{jobs.prefix}batch:gone")
    assert batches.newest(5) == [("new", 2.0), ("old", 0.0)]
    assert jobs.redis.zcard(f"{jobs.prefix}batches") == 2
    assert batches.about("new") == {"name": "new"} and batches.about("gone") == {}
