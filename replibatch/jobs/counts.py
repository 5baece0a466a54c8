"""Outcomes of all generations, counted by model and reason: for ever, and by day for the last week.

A generation is counted in the very step that writes its one result: exactly once, whatever is repeated or dies. The
number of counters grows with the models and the reasons, not with the work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import cast

from redis import Redis

from replibatch.money import to_micro
from replibatch.redisdb import keys
from replibatch.requests import BatchResult

DAY_SECONDS = 86_400

# Upper bounds, in seconds, of the counters of how long successful attempts took.
LATENCY_SECONDS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, float("inf"))

GENERATIONS = "generations"  # by model and final state
ATTEMPTS = "attempts"  # by model and outcome: `succeeded`, or why not
FALLBACKS = "fallbacks"  # attempts that another model replaced, by model and why
LATENCY = "latency"  # successful attempts, by model and upper bound in seconds; each counts in one
MILLISECONDS = "milliseconds"  # what those took, by model
COST = "cost"  # micro-dollars, by model
TAKEN_OVER = "taken_over"  # generations that another process had when it died or left

Table = Counter[tuple[str, ...]]


def counted(result: BatchResult, before: int = 0) -> dict[str, int]:
    """What a result adds to which counter, by its field in Redis.

    Args:
        result: of an item.
        before: how many of its attempts were counted already, with an earlier result.
    """
    table: Table = Counter()
    last = result.attempts[-1].model if result.attempts else result.model_name
    table[GENERATIONS, result.model_used or last, result.state.value] += 1
    for attempt in result.attempts[before:]:
        table[ATTEMPTS, attempt.model, attempt.reason or attempt.outcome] += 1
        table[COST, attempt.model] += to_micro(attempt.cost_usd or 0.0)
        if not attempt.reason:
            bound = next(bound for bound in LATENCY_SECONDS if attempt.seconds <= bound)
            table[LATENCY, attempt.model, str(bound)] += 1
            table[MILLISECONDS, attempt.model] += round(attempt.seconds * 1000)
    for failed, following in pairwise(result.attempts[before:]):
        if failed.model != following.model and failed.reason:
            table[FALLBACKS, failed.model, failed.reason] += 1
    return {"\t".join(labels): amount for labels, amount in table.items() if amount}


class Counts:
    """The counters of one account.

    Args:
        redis: a client of the fleet's Redis.
        prefix: the records's.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix

    def ever(self) -> Table:
        """All counters: amounts by labels, the first of which is one of this module's names."""
        return _table(cast("dict[str, str]", self._redis.hgetall(keys.COUNTS.at(self._prefix))))

    def of_days(self, days: int) -> Table:
        """The counters of the last `days` days (UTC), today included; no more than a week is kept."""
        today = self._redis.time()[0] // DAY_SECONDS
        with self._redis.pipeline(transaction=False) as pipeline:
            for day in range(today - days + 1, today + 1):
                pipeline.hgetall(keys.COUNTS_OF_DAY.at(self._prefix, day))
            return sum((_table(each) for each in pipeline.execute()), Counter())


def of_kind(table: Table, kind: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """The counters of one kind: the labels after its name, and the amount."""
    for (first, *labels), amount in sorted(table.items()):
        if first == kind:
            yield tuple(labels), amount


def _table(fields: dict[str, str]) -> Table:
    return Counter({tuple(field.split("\t")): int(amount) for field, amount in fields.items()})
