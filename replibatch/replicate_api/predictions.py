"""A prediction as the API shows it, and the meaning of its end."""

from __future__ import annotations

import json
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

EARLIEST, LATEST = 2015, 2200  # years of what can be a time
OVER = frozenset({"succeeded", "failed", "canceled", "aborted"})

# Words of failed predictions. Moderation, of Replicate's (E005) and of the models it passes on to others.
_SENSITIVE = re.compile(
    r"\(E005\)|\bE005\b|flagged as sensitive|\bNSFW\b|moderation|\bmoderated\b|safety (system|filter|checker|policy)"
    r"|content (policy|filter|flagged|safety)|(prohibited|blocked|unsafe) content|violat\w* (our|the|content|usage)",
    re.IGNORECASE,
)
# E003 high demand, E004 unavailable, PA interrupted, E9828 director fault, E1001 out of memory, E6716 start time-out.
_PASSING = re.compile(
    r"\bE003\b|\bE004\b|code: PA\b|\bE9828\b|\bE1001\b|\bE6716\b|please retry|high demand"
    r"|(service|server|model)( is)?( currently| temporarily)? unavailable|temporarily unavailable",
    re.IGNORECASE,
)
_TIMED_OUT = re.compile(
    r"\btimed out\b|\btime[- ]?out (after|of|reached|exceeded)|(request|prediction) timeout", re.IGNORECASE
)


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
        model: `owner/name` as the row shows it; empty where it shows none.
        version: as the row shows it; empty where it shows none.
        input: as the row shows it; None where it shows none, or once it is erased.
        output: JSON; null until there is one, and once erased.
        error: the model's words, for a failure.
        source: `api` or `web`.
        created_at: None where the row shows none that can be read, as is `completed_at`.
        completed_at: None as long as it is not over, too.
        metrics: what Replicate has measured, as it tells it.
        data_removed: whether Replicate has erased input and output.
    """

    id: str
    status: str
    model: str = ""
    version: str = ""
    input: dict[str, Any] | None = None
    output: Any = None
    error: str | None = None
    source: str = "api"
    created_at: datetime | None = None
    completed_at: datetime | None = None
    data_removed: bool = False
    metrics: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, row: Any) -> Self:
        """Read a row of the API: `id` and `status` must be there, everything else may be odd or missing.

        Raises:
            ValueError: it is no prediction.
        """
        if not isinstance(row, dict) or not isinstance(row.get("id"), str) or not row["id"]:
            raise ValueError("no prediction's row")
        if not isinstance(row.get("status"), str) or not row["status"]:
            raise ValueError(f"the prediction {row['id'][:60]} has no status")
        inputs, removed = row.get("input"), row.get("data_removed") is True
        error, metrics = row.get("error"), row.get("metrics")
        return cls(
            id=row["id"],
            status=row["status"].lower(),
            model=_text(row.get("model")),
            version=_text(row.get("version")),
            input=inputs if isinstance(inputs, dict) and not removed else None,
            output=row.get("output"),
            error=error if isinstance(error, str) or error is None else json.dumps(error, default=str)[:2000],
            source=_text(row.get("source")) or "api",
            created_at=_time(row.get("created_at")),
            completed_at=_time(row.get("completed_at")),
            data_removed=removed,
            metrics=metrics if isinstance(metrics, dict) else {},
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


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _time(text: Any) -> datetime | None:
    """A time of the API, to the microsecond; without a zone it is UTC. None for anything but a time of this age."""
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)) if EARLIEST <= time.year <= LATEST else None
    except (ValueError, OverflowError):
        return None
