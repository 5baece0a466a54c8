"""The results that a fake account has made, for tests to read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Made:
    """One prediction.

    Attributes:
        job_id: of the job it was made for.
        model: which model made it.
        inputs: what the model was given.
        outcome: `succeeded`, or why it failed, in a word.
        cost_usd: what it was charged.
    """

    job_id: str
    model: str
    inputs: dict[str, Any]
    outcome: str
    cost_usd: float


@dataclass
class Books:
    """All predictions of one test.

    Attributes:
        predictions: in the order they were made.
    """

    predictions: list[Made] = field(default_factory=list)

    @property
    def created(self) -> int:
        """How many there were."""
        return len(self.predictions)

    @property
    def spent_usd(self) -> float:
        """What they cost."""
        return round(sum(each.cost_usd for each in self.predictions), 6)

    @property
    def by_model(self) -> dict[str, int]:
        """How many each model made."""
        return dict(Counter(each.model for each in self.predictions))

    @property
    def paid_twice(self) -> int:
        """How many jobs were paid for more than once."""
        return sum(count > 1 for count in Counter(each.job_id for each in self.predictions if each.cost_usd).values())
