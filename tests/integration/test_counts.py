"""What became of all generations is counted once each, by model and reason, in memory that does not grow."""

from __future__ import annotations

from replibatch.jobs import Ledger
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


def settle(ledger: Ledger, name: str) -> None:
    request = RoutedRequest(name, "a prompt", FIRST, FIRST, {}, (), f"{name}.png")
    assert ledger.enqueue(name, request, {}, priority=3)
    record = ledger.take(name, 1)
    assert record
    for _ in range(2):  # its reply was lost, so it is repeated
        ledger.settle(record, State.SUCCEEDED, fallen_back(name))


def test_each_generation_is_counted_once_under_the_models_it_went_through(ledger: Ledger) -> None:
    for number in range(5):
        settle(ledger, f"g{number}")
    counts = Counts(ledger.redis, ledger.prefix)
    for table in (counts.ever(), counts.of_days(1), counts.of_days(7)):
        assert dict(of_kind(table, GENERATIONS)) == {(SECOND, "succeeded"): 5}
        assert dict(of_kind(table, FALLBACKS)) == {(FIRST, "sensitive"): 5}
        assert dict(of_kind(table, LATENCY)) == {(SECOND, "10.0"): 5}
        assert dict(of_kind(table, COST)) == {(SECOND,): 200_000}


def test_the_counters_and_the_list_of_the_latest_stay_as_small_as_they_are(ledger: Ledger) -> None:
    settle(ledger, "first")
    fields = len(Counts(ledger.redis, ledger.prefix).ever())
    for number in range(40):
        settle(ledger, f"g{number}")
    assert len(Counts(ledger.redis, ledger.prefix).ever()) == fields
    latest = ledger.redis.lrange(f"{ledger.prefix}latest", 0, -1)
    assert latest == [f"g{number}" for number in range(39, 15, -1)]
    (today,) = ledger.redis.keys(f"{ledger.prefix}counts:*")
    assert 0 < ledger.redis.ttl(today) <= 8 * 86_400


def test_what_is_taken_over_from_a_dead_process_is_counted(ledger: Ledger) -> None:
    dead = Ledger(ledger.redis, load(), "dead/1/process")
    for name in ("a", "b"):
        dead.enqueue(name, RoutedRequest(name, "a prompt", FIRST, FIRST, {}, (), "x.png"), {}, priority=3)
        dead.take(name, 1)
    assert len(ledger.take_over("dead/1/process")) == 2
    assert ledger.take_over("dead/1/process") == []
    assert Counts(ledger.redis, ledger.prefix).ever()[TAKEN_OVER,] == 2
