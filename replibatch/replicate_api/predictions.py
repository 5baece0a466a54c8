"""A prediction as the API tells of it, and what its end means."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from replibatch.errors import (
    AttemptFailure,
    Interrupted,
    OutputErased,
    PredictionCanceled,
    PredictionFailed,
    PredictionTimedOut,
    Sensitive,
)

OVER = frozenset({"succeeded", "failed", "canceled", "aborted"})

# Replicate's own words for failed predictions: E003 high demand, E004 unavailable, PA interrupted,
# E9828 director fault, E1001 out of memory, E6716 start time-out.
_SENSITIVE = re.compile(r"E005|flagged as sensitive|\bNSFW\b", re.IGNORECASE)
_PASSING = re.compile(r"E003|E004|code: PA|E9828|E1001|E6716|please retry|high demand|unavailable", re.IGNORECASE)
_TIMED_OUT = re.compile(r"timed? ?out", re.IGNORECASE)


ERASED = (
    "it was made and paid for, but Replicate erased the output before it was saved; "
    "REPLIBATCH_REGENERATE_ERASED=true has such outputs made, and paid for, again"
)

GONE = (
    "Replicate does not know the prediction any more: it may have been made and paid for; "
    "REPLIBATCH_REGENERATE_ERASED=true has such outputs made, and paid for, again"
)


@dataclass(frozen=True)
class Prediction:
    """One prediction, from any answer that carries one. Unknown statuses are kept as they are.

    Attributes:
        id: Replicate's id.
        status: `starting`, `processing`, `succeeded`, `failed`, `canceled` or `aborted`.
        model: `owner/name`; empty where the API leaves it out.
        input: as the API echoes it; empty once erased.
        output: JSON; null until there is one, and once erased.
        error: the model's words, for a failure.
        source: `api` or `web`.
        created_at: None where the API leaves it out, as is `completed_at`.
        completed_at: None as long as it is not over, too.
        metrics: what Replicate has measured, as it tells it.
        data_removed: whether Replicate has erased input and output.
    """

    id: str
    status: str
    model: str = ""
    input: dict[str, Any] = field(default_factory=dict)
    output: Any = None
    error: str | None = None
    source: str = "api"
    created_at: datetime | None = None
    completed_at: datetime | None = None
    data_removed: bool = False
    metrics: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Read an answer of the API; only `id` and `status` must be there."""
        return cls(
            id=data["id"],
            status=data["status"],
            model=data.get("model") or "",
            input=data.get("input") or {},
            output=data.get("output"),
            error=None if data.get("error") is None else str(data["error"]),
            source=data.get("source") or "api",
            created_at=_time(data.get("created_at")),
            completed_at=_time(data.get("completed_at")),
            data_removed=bool(data.get("data_removed")),
            metrics=metrics if isinstance(metrics := data.get("metrics"), dict) else {},
        )

    @classmethod
    def gone(cls, prediction_id: str) -> Self:
        """One that Replicate does not know any more: over, charged for all anybody can tell, and erased."""
        return cls(prediction_id, "succeeded", error=GONE, data_removed=True)

    def as_row(self) -> dict[str, Any]:
        """What `from_json` reads, without the input: who waits for the end has that."""
        row = {name: value for name, value in vars(self).items() if name != "input"}
        return row | {name: time.isoformat() for name, time in row.items() if isinstance(time, datetime)}

    @property
    def is_over(self) -> bool:
        """Whether the prediction has ended, one way or another."""
        return self.status in OVER

    @property
    def lasted_seconds(self) -> float | None:
        """From its creation to its end, by Replicate's clock; None as long as that is not known."""
        if self.created_at is None or self.completed_at is None:
            return None
        return (self.completed_at - self.created_at).total_seconds()

    def failure(self, *, past_deadline: bool = False) -> AttemptFailure | None:
        """Why it gave nothing; None for a success.

        Args:
            past_deadline: it ended no earlier than its `Cancel-After`: a cancel then was Replicate's own.
        """
        words = self.error or f"the prediction was {self.status}"
        if self.status == "succeeded":
            return OutputErased(self.error or ERASED) if self.data_removed else None
        if self.status == "aborted" or (self.status == "canceled" and past_deadline):
            return PredictionTimedOut("not finished within the prediction time-out")
        if self.status == "canceled":
            return PredictionCanceled("canceled at Replicate")
        for pattern, kind in ((_SENSITIVE, Sensitive), (_PASSING, Interrupted), (_TIMED_OUT, PredictionTimedOut)):
            if pattern.search(words):
                return kind(words)
        return PredictionFailed(words)


def _time(text: str | None) -> datetime | None:
    """A time of the API; one that names no zone is UTC."""
    if not text:
        return None
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
