"""A batch in the records: fed, canceled, retried, closed for a submitter that is gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replibatch.jobs import Batches, Jobs, capacity_for
from replibatch.jobs.batches import QUIET_MS
from replibatch.jobs.holds import PAUSED
from replibatch.redisdb.scripts import run_together
from replibatch.requests import Attempt, RoutedRequest, State
from tests.support.jobs import MODEL, append, open_batch, settle, take


def test_a_task_gets_the_whole_request(jobs: Jobs, batches: Batches) -> None:
    open_batch(batches, budget="shared")
    assert append(batches, 2) == ["one-0", "one-1"]
    record = take(jobs, "one-1")
    assert (record.index, record.batch, record.budget) == (1, "one", "shared")
    assert record.request == RoutedRequest("asked 1", "p 1", MODEL, MODEL, {"width": 7}, (), "out/1.png")
    # Put back and fed again it is the same.
    run_together(jobs.redis, jobs.put_back_step(record, "paused"))
    assert [message.id for message in batches.hold("one", "")] == ["one-1"]
    again = take(jobs, "one-1")
    assert again.request == record.request


def test_a_chunk_that_is_repeated_counts_once(batches: Batches) -> None:
    open_batch(batches)
    append(batches, 10)
    append(batches, 10)
    assert batches.state("one").total == 10
    append(batches, 3, offset=10)
    assert batches.state("one").total == 13


def test_what_is_appended_after_a_cancel_never_starts(jobs: Jobs, batches: Batches) -> None:
    open_batch(batches)
    assert len(append(batches, 10)) == 4
    assert batches.cancel("one") == 6
    assert append(batches, 5, offset=10) == []
    state = batches.state("one")
    assert (state.total, state.pending, state.canceled, state.outstanding) == (15, 0, 11, 4)
    # What comes back from the queue now is canceled, too.
    record = take(jobs, "one-0")
    run_together(jobs.redis, jobs.put_back_step(record, "paused"))
    assert batches.state("one").pending == 0 and batches.state("one").canceled == 12
    batches.close("one")
    for place in (1, 2, 3):
        settle(jobs, f"one-{place}")
    assert batches.state("one").is_over
    assert sorted(entry.index for entry in batches.unstarted("one")) == [0, *range(4, 15)]


def test_nothing_is_sent_of_what_is_canceled_or_has_not_begun_and_is_paused(jobs: Jobs, batches: Batches) -> None:
    """However late its worker hears of it."""
    open_batch(batches)
    append(batches, 4)
    first, second, third, fourth = (record for place in range(4) if (record := jobs.take(f"one-{place}", 1)))
    assert jobs.intend(first, "sent") == "ok"
    batches.hold("one", PAUSED)
    assert jobs.intend(second, "sent") == "paused"
    tried = Attempt(MODEL, "p1", "failed", "sensitive", "no", 1.0, 0.0)
    jobs.advance(third, MODEL, [tried], 0.0)
    jobs.advance(fourth, MODEL, [replace(tried, prediction_id=None, reason="held")], 0.0)
    begun, held = take(jobs, "one-2", 2), take(jobs, "one-3", 2)
    assert begun.has_begun and jobs.intend(begun, "sent") == "ok"
    assert not held.has_begun and jobs.intend(held, "sent") == "paused", "nothing was created for it"
    batches.hold("one", "")
    jobs.ask_to_cancel(second.id)
    assert [jobs.intend(record, "sent") for record in (first, second, begun)] == ["ok", "canceled", "ok"]
    batches.cancel("one", forget=True)
    assert jobs.intend(begun, "sent") == "ok"
    batches.cancel("one")
    assert [jobs.intend(record, "sent") for record in (first, second, begun)] == ["canceled"] * 3


def test_retrying_takes_failures_and_what_was_dropped_each_once(jobs: Jobs, batches: Batches) -> None:
    open_batch(batches)
    append(batches, 8)
    batches.close("one")
    settle(jobs, "one-0")
    settle(jobs, "one-1", State.FAILED)
    settle(jobs, "one-2", State.PLACEHOLDER)
    batches.cancel("one")
    for place in (3, 4, 5, 6):
        settle(jobs, f"one-{place}", State.CANCELED)
    assert batches.state("one").is_over
    (page,) = batches.pages("one")
    failed = [item for item in page if item.result and not item.result.success]
    assert batches.retry("one", failed) == (7, 0)
    assert batches.retry("one", failed) == (0, 0)
    assert batches.feeding() == {"one"}, "should nobody else feed it, takeovers do"
    messages = batches.top_up("one")
    assert len(messages) == 4
    state = batches.state("one")
    assert (state.succeeded, state.finished, state.pending + state.outstanding) == (1, 1, 7)
    while names := [message.id for message in messages] or list(batches.outstanding("one")):
        messages = []
        for name in names:
            settle(jobs, name)
    assert batches.state("one").is_over and batches.state("one").succeeded == 8
    indexes = [item.index for item in batches.finished("one")]
    assert sorted(indexes) == list(range(8))  # nothing is told twice


def test_a_batch_whose_submitter_is_gone_is_closed_and_opened_again_by_appending(
    jobs: Jobs, batches: Batches
) -> None:
    open_batch(batches)
    append(batches, 2)
    assert batches.tidy() == 0
    jobs.redis.zincrby(f"{jobs.prefix}batches:open", -QUIET_MS - 1000, "one")
    assert batches.tidy() == 1 and batches.state("one").closed
    assert append(batches, 1, offset=2) == ["one-2"] and not batches.state("one").closed


@pytest.mark.parametrize(("limit", "capacity"), [(1, 5), (16, 20), (60, 75), (1000, 1250)])
def test_a_fleet_has_a_little_more_at_hand_than_is_in_flight(limit: int, capacity: int) -> None:
    assert capacity_for(limit) == capacity
