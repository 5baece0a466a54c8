"""A batch that requests are added to one by one, from any process: the lane of a key."""

from __future__ import annotations

import pytest

from replibatch.broker.publish import SINGLE
from replibatch.gateway.tenants import Tenants
from replibatch.jobs import Batches, Jobs
from replibatch.jobs.batches import QUIET_MS
from replibatch.jobs.holds import budget_of_key, is_of_key
from replibatch.limits import Limiter
from replibatch.redisdb import keys
from replibatch.requests import State
from replibatch.settings import load
from tests.support.jobs import MODEL, request, settle, take

LANE = "key-one"


def admit(batches: Batches, name: str, slots: int = 2) -> list[str]:
    messages = batches.admit(
        LANE, name, request(name), {MODEL: {}}, max_concurrent=slots, priority=SINGLE, budget="", about={}
    )
    return [message.id for message in messages]


def test_no_more_are_on_their_way_than_it_has_slots(jobs: Jobs, batches: Batches) -> None:
    assert [admit(batches, name) for name in "abcd"] == [["a"], ["b"], [], []]
    settle(jobs, "a")  # which feeds the next
    state = batches.state(LANE)
    assert (state.total, state.pending, state.outstanding, state.succeeded) == (4, 1, 2, 1)
    assert admit(batches, "e", slots=4) == ["d", "e"], "a changed bound holds at once"


def test_a_call_that_is_repeated_adds_nothing(jobs: Jobs, batches: Batches) -> None:
    for name in "aabcc":
        admit(batches, name)
    state = batches.state(LANE)
    assert (state.total, state.pending, state.outstanding) == (3, 1, 2)


def test_one_that_waits_is_pulled_out_to_be_canceled(jobs: Jobs, batches: Batches) -> None:
    for name in "abcd":
        admit(batches, name)
    assert batches.pull(LANE, "c") and not batches.pull(LANE, "c") and not batches.pull(LANE, "a")
    assert jobs.outcome("c")[0] == "publishing" and not batches.pull("key-none", "c")
    record = jobs.take("c", 1)
    assert record is not None and record.canceling
    jobs.settle(record, State.CANCELED, record.request.unmade(State.CANCELED, "canceled", ()))
    state = batches.state(LANE)
    assert (state.total, state.canceled, state.pending, state.outstanding) == (4, 1, 1, 2)


def test_an_idle_lane_is_closed_and_opened_by_the_next(
    jobs: Jobs, batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit(batches, "a")
    settle(jobs, "a")
    assert batches.tidy() == 0
    monkeypatch.setattr("replibatch.jobs.batches.QUIET_MS", -1)
    assert QUIET_MS > 0 and batches.tidy() == 1 and batches.state(LANE).is_over
    batches.tidy()
    assert jobs.redis.ttl(f"{jobs.prefix}gen:a") > 0, "its records are kept for as long as others"
    assert admit(batches, "b") == ["b"]
    batches.tidy()
    assert not batches.state(LANE).is_over and jobs.redis.ttl(f"{jobs.prefix}batch:{LANE}") == -1


def test_the_budget_of_a_key_outlives_its_lane(jobs: Jobs, batches: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    tenants = Tenants(jobs.redis, jobs.prefix, Limiter(jobs.redis, load(), "this/1/process"))
    tenants.add("rich", budget_usd=5.0)
    (tenant,) = tenants.all().values()
    assert tenant.budget == budget_of_key(tenant.id) and is_of_key(tenant.budget) and not is_of_key("a1b2c3d4")
    batches.admit(LANE, "a", request("a"), {}, max_concurrent=1, priority=SINGLE, budget=tenant.budget, about={})
    record = take(jobs, "a")
    assert record.budget == tenant.budget
    jobs.settle(record, State.FAILED, record.request.unmade(State.FAILED, "over", ()))
    monkeypatch.setattr("replibatch.jobs.batches.QUIET_MS", -1)
    batches.tidy()
    batches.tidy()
    assert batches.state(LANE).is_over
    assert jobs.redis.ttl(keys.BUDGET.at(jobs.prefix, tenant.budget)) == -1


def test_a_single_job_draws_on_a_budget(jobs: Jobs) -> None:
    jobs.enqueue("a", request("a"), {}, priority=SINGLE, budget="key-x")
    record = jobs.take("a", 1)
    assert record is not None and (record.budget, record.batch) == ("key-x", "")
