"""What attempts need and cannot have for now: the same words for it wherever it is shown."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

API = "api"  # creates have no answer from Replicate
READS = "reads"  # reads have none: shown, and holds nothing
STORAGE = "storage"
OUTPUTS = "outputs"  # Replicate's host of output files
NAMES = (API, READS, STORAGE, OUTPUTS)  # and `model:<name>`
_MODEL = "model:"
MISSING = "model_missing"  # the kind of failures of a model that Replicate does not have
_OF_TODAY_SECONDS = 20 * 3600  # a time without its date is understood for so long

_WHAT = {
    API: "Replicate's API takes no creates",
    READS: "Replicate's API answers no reads",
    STORAGE: "the storage cannot be written",
    OUTPUTS: "outputs cannot be downloaded",
}
_THEN = {
    API: "one create at a time is tried; the rest goes on with the first that is answered",
    READS: "what is in flight is seen to end once it answers",
    STORAGE: "what is made is kept at Replicate for an hour, and saved once it can be written",
    OUTPUTS: "what is made is kept at Replicate for an hour, and fetched once it answers",
}

_OF_MODEL = (
    "one item at a time is tried on it; the rest goes on with its first success, or with the next model if the same "
    "command is given again with `--on-outage fallback`"
)


def of_model(model: str) -> str:
    """The outage of a model, by name."""
    return f"{_MODEL}{model}"


class Fault(NamedTuple):
    """A failure that speaks for an outage.

    Attributes:
        name: of the outage.
        kind: failures in a row count together while they are of one kind.
        message: one line for people.
        after: how many in a row make an outage.
        pause_seconds: before the next probe; 0 for one that grows from half a second to four, of a model to a minute.
    """

    name: str
    kind: str
    message: str
    after: int = 1
    pause_seconds: float = 0.0

    def as_call(self) -> dict[str, Any]:
        """For the limiter's scripts."""
        return {
            "name": self.name,
            "kind": self.kind,
            "message": self.message[:300],
            "after": self.after,
            "pause_ms": int(self.pause_seconds * 1000),
        }


@dataclass(frozen=True)
class Outage:
    """One that holds work now.

    Attributes:
        name: one of `NAMES`, or `model:<name>`.
        kind: of its failures.
        message: of the last one.
        since_seconds: how long ago it began.
        failures: in a row.
        began_at: when it began, in Unix seconds by Redis' clock.
    """

    name: str
    kind: str
    message: str
    since_seconds: float
    failures: int
    began_at: float

    @classmethod
    def kept(cls, name: str, text: str | None) -> Self | None:
        """From what Redis keeps of it (lua/outages.lua); None where it is not out."""
        about = json.loads(text) if text else {}
        if not about.get("is_out"):
            return None
        began_at = about["since"] / 1000
        since_seconds = max(0.0, time.time() - began_at)
        return cls(name, about["kind"], str(about["message"]), since_seconds, int(about["count"]), began_at)

    @property
    def since(self) -> str:
        """When it began: `14:02 UTC`, with its date where that is not of today."""
        began = datetime.fromtimestamp(self.began_at, UTC)
        return f"{began:%H:%M UTC}" if self.since_seconds < _OF_TODAY_SECONDS else f"{began:%Y-%m-%d %H:%M UTC}"

    @property
    def why(self) -> str:
        """What a model does that is out: `answers 404 since 14:02 UTC`."""
        if self.kind == MISSING:
            return f"answers 404 since {self.since}"
        return f"is out since {self.since}, after {self.failures:,} failures in a row"

    @property
    def what(self) -> str:
        """The outage in words, for people."""
        model = self.name.removeprefix(_MODEL)
        return _WHAT.get(self.name) or f"{model} {self.why}"

    @property
    def to_go_on(self) -> str:
        """What happens next, and how to hurry it."""
        then = _THEN.get(self.name, _OF_MODEL)
        return f"{then}; `replibatch resume` tries all at once"

    def __str__(self) -> str:
        return f"{self.what}: {self.message}"

    def to_json(self) -> dict[str, Any]:
        """For `status --json` and Flower."""
        return {
            "name": self.name,
            "what": self.what,
            "message": self.message,
            "since_seconds": round(self.since_seconds, 1),
            "failures": self.failures,
            "to_go_on": self.to_go_on,
        }
