"""What became of all generations is counted once each, by model and reason, in memory that does not grow."""

from __future__ import annotations

from replibatch.jobs import Jobs
from replibatch.jobs.counts import COST, FALLBACKS, GENERATIONS, LATENCY, TAKEN_OVER, Counts, of_kind
from replibatch.requests import Attempt, BatchResult, RoutedRequest, State
from replibatch.settings import load

FIRST, SECOND = "a/model", "another/model"


def fallen_back(name: str) -> BatchResult:
    attempts = (
        Attempt(FIRST, "p1", "failed", "interrupted", "try again", 1.0, 0.0),
        Attempt(FIRST, "p2", "failed", "sensitive", "flagged", 2.0, 0.0),
        Attempt(SECOND, "p3", "succeeded", None, None, 7.5, 0.04),
    )
    return BatchResult(name, "a prompt", FIRST, SECOND, True, attempts=attempts, cost_usd=0.04)


def settle(jobs: Jobs, name: str) -> None:
    request = RoutedRequest(name, "a prompt", FIRST, FIRST, {}, (), f"{name}.png")
    assert jobs.enqueue(name, request, {}, priority=3)
    record = jobs.take(name, 1)
    assert record
    for _ in range(2):  # its reply was lost, so it is repeated
        jobs.settle(record, State.SUCCEEDED, fallen_back(name))


def test_each_generation_is_counted_once_under_the_models_it_went_through(jobs: Jobs) -> None:
    for number in range(5):
        settle(jobs, f"g{number}")
    counts = Counts(jobs.redis, jobs.prefix)
    for table in (counts.ever(), counts.of_days(1), counts.of_days(7)):
        assert dict(of_kind(table, GENERATIONS)) == {(SECOND, "succeeded"): 5}
        assert dict(of_kind(table, FALLBACKS)) == {(FIRST, "sensitive"): 5}
        assert dict(of_kind(table, LATENCY)) == {(SECOND, "10.0"): 5}
        assert dict(of_kind(table, COST)) == {(SECOND,): 200_000}


def test_the_counters_and_the_list_of_the_latest_stay_as_small_as_they_are(jobs: Jobs) -> None:
    settle(jobs, "first")
    fields = len(Counts(jobs.redis, jobs.prefix).ever())
    for number in range(40):
        settle(jobs, f"g{number}")
    assert len(Counts(jobs.redis, jobs.prefix).ever()) == fields
    latest = jobs.redis.lrange(f"{jobs.prefix}latest", 0, -1)
    assert latest == [f"g{number}" for number in range(39, 15, -1)]
    (today,) = jobs.redis.keys(f"{jobs.prefix}counts:*")
    assert 0 < jobs.redis.ttl(today) <= 8 * 86_400


def test_what_is_taken_over_from_a_dead_process_is_counted(jobs: Jobs) -> None:
    dead = Jobs(jobs.redis, load(), "dead/1/process")
    for name in ("a", "b"):
        dead.enqueue(name, RoutedRequest(name, "a prompt", FIRST, FIRST, {}, (), "x.png"), {}, priority=3)
        dead.take(name, 1)
    assert len(jobs.take_over("dead/1/process")) == 2
    assert jobs.take_over("dead/1/process") == []
    assert Counts(jobs.redis, jobs.prefix).ever()[TAKEN_OVER,] == 2
