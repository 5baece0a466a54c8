"""How far a batch is, counted from its results: totals, rate, the time that is left."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from replibatch.results import MODEL_OUT, BatchResult, State

RATE_SECONDS = 120.0  # the rate is that of the last two minutes
TELLING_ENDS = 4  # before that many ends, the rate tells less than the limits do
RATE_ENDS = 5_000  # or of as many ends, where there were more


def is_fallback(result: BatchResult) -> bool:
    """Whether another model than the one first tried made it."""
    return result.fell_back


class StandIn(NamedTuple):
    """A model that made something in the place of another.

    Attributes:
        model: the one that was to make it.
        made_by: the one that did.
        why: the reason of the last failure on the first, or what it answered while it was out.
    """

    model: str
    made_by: str
    why: str


def _stand_ins(result: BatchResult) -> Iterator[StandIn]:
    """Those of one success: one for each of its steps that another model made."""
    made = {each.step: each.model_used for each in result.steps} or {1: str(result.model_used)}
    for step, model in made.items():
        of_step = [each for each in result.attempts if each.step == step]
        failed = [each for each in of_step if each.reason and each.model == of_step[0].model]
        if failed and failed[-1].model != model:
            why = str(failed[-1].message if failed[-1].reason == MODEL_OUT else failed[-1].reason)
            yield StandIn(failed[-1].model, model, why)


@dataclass
class Tally:
    """Counts of one run; `add` each result as it comes.

    Attributes:
        total: items to be made.
        skipped: items made by an earlier run, not among `total`.
        expected_seconds: an estimate for the whole run, from the limits; None for none.
        per_window: creates the account is allowed in a window; None where that is not known.
        window_seconds: the window's length.
        succeeded: those that another model than the first made are `fallbacks`, too.
        stand_ins: who made something in whose place, and why.
        clock: seconds, for tests.
    """

    total: int
    skipped: int = 0
    expected_seconds: float | None = None
    per_window: int | None = None
    window_seconds: float = 60.0
    succeeded: int = 0
    fallbacks: int = 0
    placeholders: int = 0
    failed: int = 0
    canceled: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    by_model: Counter[str] = field(default_factory=Counter)
    stand_ins: Counter[StandIn] = field(default_factory=Counter)
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._began = self.clock()
        self._ends: deque[float] = deque(maxlen=RATE_ENDS)

    def add(self, result: BatchResult) -> None:
        """Count one result."""
        self._ends.append(self.clock())
        self.cost_usd += result.known_cost_usd
        self.unpriced += result.cost_usd is None
        if result.success:
            self.succeeded += 1
            self.fallbacks += is_fallback(result)
            self.by_model[str(result.model_used)] += 1
            self.stand_ins.update(_stand_ins(result))
        elif result.placeholder:
            self.placeholders += 1
        elif result.state == State.CANCELED:
            self.canceled += 1
        else:
            self.failed += 1

    @property
    def done(self) -> int:
        """How many have their result."""
        return self.succeeded + self.placeholders + self.failed + self.canceled

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return self.clock() - self._began

    def per_minute(self) -> float | None:
        """How many finish in a minute, at present; None before the first."""
        since = max(self._began, self.clock() - RATE_SECONDS)
        if len(self._ends) == RATE_ENDS:
            since = max(since, self._ends[0])
        recent = sum(end >= since for end in self._ends)
        return 60 * recent / max(0.001, self.clock() - since) if recent else None

    def seconds_left(self) -> float | None:
        """Until all are done: by the rate so far, or at first by the estimate; None where neither tells.

        Never less than the window allows: a burst at the beginning says nothing about the pace to come.
        """
        rate = self.per_minute()
        if rate and (self.done >= TELLING_ENDS or self.expected_seconds is None):
            return max(self._seconds_by_window(), (self.total - self.done) * 60 / rate)
        if self.expected_seconds is None:
            return None
        return max(1.0, self.expected_seconds - self.seconds)

    def _seconds_by_window(self) -> float:
        """How long the creates to come take, by the limit alone."""
        if self.per_window is None:
            return 0.0
        beyond_one_window = max(0, self.total - self.done - self.per_window)
        return beyond_one_window / self.per_window * self.window_seconds

    def to_json(self) -> dict[str, Any]:
        """The counts, for machines."""
        return {
            "total": self.total + self.skipped,
            "made_before": self.skipped,
            "succeeded": self.succeeded,
            "fallbacks": self.fallbacks,
            "stand_ins": [{**each._asdict(), "count": count} for each, count in self.stand_ins.most_common()],
            "placeholders": self.placeholders,
            "failed": self.failed,
            "canceled": self.canceled,
            "not_started": self.total - self.done,
            "cost_usd": round(self.cost_usd, 6),
            "unknown_cost": self.unpriced,
            "seconds": round(self.seconds, 3),
        }
