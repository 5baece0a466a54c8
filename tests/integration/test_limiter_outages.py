"""Failures that speak for an outage: each report counts once, however often its call is repeated."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from replibatch.limits import Limiter
from replibatch.limits.outages import API, STORAGE, Fault, of_model
from replibatch.settings import Settings

MISSING = Fault(of_model("m"), "missing", "404", after=3)


@pytest.fixture
def limiter(redis_url: str) -> Iterator[Limiter]:
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        limiter = Limiter(redis, Settings(), "worker")
        limiter.heartbeat({})
        limiter.rebuild([])
        yield limiter


def outages(limiter: Limiter) -> dict[str, str]:
    """As they are kept."""
    return limiter.redis.hgetall(f"{limiter.prefix}outages")


@pytest.mark.parametrize(
    "fault", [MISSING, Fault(API, "refused", "no"), Fault(STORAGE, "full", "no", pause_seconds=5.0)]
)
def test_the_same_report_twice_changes_nothing_twice(limiter: Limiter, fault: Fault) -> None:
    """Its reply was lost on the way, and the client repeats it; others have reported meanwhile."""
    report = limiter.fault_step(fault)
    answer, once = report.run(limiter.redis), outages(limiter)
    assert report.run(limiter.redis) == answer and outages(limiter) == once
    limiter.report_fault(fault)
    twice = outages(limiter)
    assert twice != once, "another report is another failure"
    report.run(limiter.redis)
    assert outages(limiter) == twice


def test_one_failure_told_three_times_is_no_outage(limiter: Limiter) -> None:
    report = limiter.fault_step(MISSING)
    for _ in range(3):
        is_out, _ = report.run(limiter.redis)
        assert not is_out
    assert not limiter.report_fault(MISSING) and limiter.report_fault(MISSING), "the third makes one"


def test_a_report_that_comes_again_after_the_end_begins_no_new_outage(limiter: Limiter) -> None:
    report = limiter.fault_step(Fault(STORAGE, "full", "no"))
    report.run(limiter.redis)
    limiter.report_success(STORAGE)
    assert report.run(limiter.redis)[0] == 0 and outages(limiter) == {}
