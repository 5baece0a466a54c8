"""What cannot go on is put back into its batch, and goes on later where it was."""

from __future__ import annotations

from redis import ConnectionPool, Redis

from replibatch.jobs import Batches, Jobs
from replibatch.redisdb.scripts import run_together
from replibatch.requests import Attempt, BatchResult, State
from tests.support.jobs import MODEL, append, append_requests, now_ms, open_batch, request, take
from tests.support.sandbox_caller import wait_for


def test_a_hold_found_before_the_batch_was_let_go_on_holds_no_more(jobs: Jobs, batches: Batches) -> None:
    open_batch(batches)
    append(batches, 1)
    early = take(jobs, "one-0")
    batches.hold("one", "paused")
    assert batches.hold("one", "") == []
    run_together(jobs.redis, jobs.put_back_step(early, "paused"))
    assert batches.state("one").held == "" and batches.feeding() == {"one"}
    assert [message.id for message in batches.top_up("one")] == ["one-0"]
    # One found since then does.
    wait_for(lambda: int(jobs.redis.hget(f"{jobs.prefix}batch:one", "let_go_at") or 0) < now_ms(jobs))
    late = take(jobs, "one-0")
    run_together(jobs.redis, jobs.put_back_step(late, "budget"))
    assert batches.state("one").held == "budget" and batches.feeding() == set()


def test_what_was_put_back_after_an_attempt_takes_that_ones_prediction_for_nobodys(
    jobs: Jobs, batches: Batches
) -> None:
    open_batch(batches)
    append(batches, 1)
    first = take(jobs, "one-0")
    assert run_together(jobs.redis, jobs.created_step(first, "p1")) == ["ok"]
    failed = Attempt(MODEL, "p1", "failed", "failed", "no", 1.0, 0.0)
    assert jobs.advance(first, MODEL, [failed], 0.0)
    second = take(jobs, "one-0", 2)
    run_together(jobs.redis, jobs.put_back_step(second, "stopped: no credit"))
    batches.hold("one", "")
    again = take(jobs, "one-0", 2)
    assert again.attempts == (failed,)
    assert run_together(jobs.redis, jobs.created_step(again, "p1")) == ["twin"]
    assert run_together(jobs.redis, jobs.created_step(again, "p2")) == ["ok"]


def put_back_after_an_attempt(jobs: Jobs, name: str, number: int = 1) -> tuple[Attempt, ...]:
    """A paid attempt fails, and the account is stopped at the next; returns all attempts so far."""
    record = take(jobs, name, number)
    attempts = (*record.attempts, Attempt(MODEL, f"p{number}", "failed", "erased", "no", 1.0, 0.25))
    assert jobs.advance(record, "next/model", attempts, 0.0)
    following = take(jobs, name, number + 1)
    assert run_together(jobs.redis, jobs.put_back_step(following, "stopped: no credit")) == [1]
    return attempts


def test_what_was_put_back_goes_on_where_it_was_and_its_cost_counts_once(jobs: Jobs, batches: Batches) -> None:
    open_batch(batches)
    append(batches, 1)
    batches.close("one")
    put_back_after_an_attempt(jobs, "one-0")
    assert batches.state("one").cost_usd == 0.25
    (message,) = batches.hold("one", "")
    assert (message.id, message.attempt, message.model) == ("one-0", 2, "next/model")
    attempts = put_back_after_an_attempt(jobs, "one-0", 2)  # the same once more
    assert batches.state("one").cost_usd == 0.5
    batches.hold("one", "")
    record = take(jobs, "one-0", 3)
    assert record.attempts == attempts and record.model == "next/model"
    result = BatchResult("one-0", "p 0", MODEL, MODEL, True, attempts=attempts, cost_usd=0.75)
    jobs.settle(record, State.SUCCEEDED, result)
    assert batches.state("one").is_over and batches.state("one").cost_usd == 0.75


def test_what_was_put_back_and_canceled_keeps_its_attempts(jobs: Jobs, batches: Batches) -> None:
    open_batch(batches)
    append(batches, 2)
    attempts = put_back_after_an_attempt(jobs, "one-0")
    assert [entry.attempts for entry in batches.unstarted("one")] == [attempts]
    batches.cancel("one")
    assert [entry.attempts for entry in batches.unstarted("one")] == [attempts]
    assert batches.state("one").cost_usd == 0.25


def test_a_follower_of_what_was_put_back_goes_on_where_it_was_too(jobs: Jobs, batches: Batches) -> None:
    open_batch(batches)
    append(batches, 1)
    open_batch(batches, "two")
    append_requests(batches, {"one-0": request("one-0")}, 0, "two")
    put_back_after_an_attempt(jobs, "one-0")
    assert [message.attempt for message in batches.top_up("two")] == [2]
    record = take(jobs, "one-0", 2)
    assert len(record.attempts) == 1
    result = BatchResult("one-0", "p 0", MODEL, MODEL, True, attempts=record.attempts, cost_usd=0.5)
    jobs.settle(record, State.SUCCEEDED, result)
    assert (batches.state("one").cost_usd, batches.state("two").cost_usd) == (0.25, 0.25)
    batches.hold("one", "")
    assert batches.state("one").succeeded == 1 and not jobs.redis.exists(f"{jobs.prefix}batch:one:begun")


def not_saved(jobs: Jobs, name: str) -> None:
    """A generation whose second attempt was made and paid for, and could not be saved."""
    first = take(jobs, name)
    failed = Attempt(MODEL, "p0", "failed", "failed", "no", 1.0, 0.0)
    assert jobs.advance(first, MODEL, [failed], 0.0)
    record = take(jobs, name, 2)
    assert run_together(jobs.redis, jobs.created_step(record, "p1")) == ["ok"]
    attempts = (failed, Attempt(MODEL, "p1", "failed", "not_saved", "full", 1.0, 0.25))
    ended = BatchResult(
        name, "p", MODEL, None, False, error="full", attempts=attempts, cost_usd=0.25, state=State.FAILED
    )
    assert jobs.settle(record, State.FAILED, ended)


def is_owed(jobs: Jobs, name: str) -> None:
    """It goes on from what was made: nothing is created, and nothing is counted twice."""
    again = take(jobs, name, 2)
    assert again.prediction_id == "p1" and [attempt.prediction_id for attempt in again.attempts] == ["p0"]
    assert run_together(jobs.redis, jobs.created_step(again, "p1")) == ["ok"]
    attempts = (*again.attempts, Attempt(MODEL, "p1", "succeeded", None, None, 2.0, 0.25))
    made = BatchResult(name, "p", MODEL, MODEL, True, attempts=attempts, cost_usd=0.25, state=State.SUCCEEDED)
    assert jobs.settle(again, State.SUCCEEDED, made)


def test_what_was_made_and_not_saved_is_fetched_by_a_retry(jobs: Jobs, batches: Batches) -> None:
    open_batch(batches)
    append(batches, 1)
    batches.close("one")
    not_saved(jobs, "one-0")
    assert batches.retry("one", batches.finished("one")) == (1, 0)
    assert [message.attempt for message in batches.top_up("one")] == [2]
    is_owed(jobs, "one-0")
    state = batches.state("one")
    assert state.is_over and state.succeeded == 1 and state.cost_usd == 0.25


def test_what_was_made_and_not_saved_is_fetched_by_the_next_run(jobs: Jobs, batches: Batches) -> None:
    open_batch(batches)
    append_requests(batches, {"same": request("same")}, 0, "one")
    batches.close("one")
    not_saved(jobs, "same")
    open_batch(batches, "two")
    append_requests(batches, {"same": request("same")}, 0, "two")
    is_owed(jobs, "same")


def test_an_older_copy_is_told_how_far_its_generations_are(jobs: Jobs, batches: Batches) -> None:
    open_batch(batches)
    append(batches, 3)
    batches.close("one")
    names = [f"one-{number}" for number in range(3)]
    first = take(jobs, names[0])
    copy = _copy(jobs)
    second = take(jobs, names[1])
    for record, prediction in ((first, "p0"), (second, "p1")):
        assert jobs.intend(record, f"sent {prediction}") == "ok"
        assert run_together(jobs.redis, jobs.created_step(record, prediction)) == ["ok"]
    made = BatchResult(names[0], "p", MODEL, MODEL, True, state=State.SUCCEEDED)
    assert jobs.settle(first, State.SUCCEEDED, made)
    _restore(jobs, copy)
    assert jobs.take(names[1], 1) is None, "its message came again: it is running here"
    assert jobs.recall() == 0, "all of it is told"
    state = batches.state("one")
    assert state.succeeded == 1 and jobs.custody() >= {names[1]}
    again = jobs.record(names[1])
    assert again is not None and again.prediction_id == "p1" and again.fence == second.fence
    assert jobs.settle(second, State.SUCCEEDED, BatchResult(names[1], "p", MODEL, MODEL, True, state=State.SUCCEEDED))
    assert batches.state("one").succeeded == 2


def _copy(jobs: Jobs) -> dict[bytes, bytes]:
    with Redis(connection_pool=_raw(jobs)) as raw:
        return {key: raw.dump(key) for key in raw.scan_iter()}


def _restore(jobs: Jobs, copy: dict[bytes, bytes]) -> None:
    jobs.redis.flushdb()
    with Redis(connection_pool=_raw(jobs)) as raw:
        for key, value in copy.items():
            raw.restore(key, 0, value)


def _raw(jobs: Jobs) -> ConnectionPool:
    pool = jobs.redis.connection_pool
    options = {name: value for name, value in pool.connection_kwargs.items() if name != "decode_responses"}
    return ConnectionPool(connection_class=pool.connection_class, **options)
