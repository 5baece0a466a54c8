"""A batch as it is read: its progress, and its finished generations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from replibatch.jobs.packing import read_result
from replibatch.requests import BatchResult


@dataclass(frozen=True)
class BatchState:
    """A batch at a glance.

    Attributes:
        total: requests so far.
        closed: whether no more will come.
        held: why nothing new starts (`paused`, `budget`, …); empty when it goes on.
        pending: wait in the batch's list.
        outstanding: are queued or running.
        succeeded, placeholder, failed, canceled: are finished, by outcome.
        cost_usd: what the finished ones cost.
    """

    total: int
    closed: bool
    held: str
    pending: int
    outstanding: int
    succeeded: int
    placeholder: int
    failed: int
    canceled: int
    cost_usd: float

    @property
    def finished(self) -> int:
        """How many have their result."""
        return self.succeeded + self.placeholder + self.failed + self.canceled

    @property
    def ended(self) -> int:
        """How many items were made, or tried: items dropped before they started are not among the results."""
        return self.succeeded + self.placeholder + self.failed

    @property
    def is_over(self) -> bool:
        """Whether every request has its result."""
        return self.closed and self.finished >= self.total

    def figures(self) -> dict[str, Any]:
        """How many requests are where, and what they cost, for JSON."""
        return {
            "total": self.total,
            "waiting": self.pending,
            "outstanding": self.outstanding,
            "succeeded": self.succeeded,
            "placeholder": self.placeholder,
            "failed": self.failed,
            "canceled": self.canceled,
            "cost_usd": self.cost_usd,
        }

    @property
    def standing(self) -> str:
        """A word for it: `done`, why it is held, `running` or `waiting`."""
        if self.is_over:
            return "done"
        return self.held or ("running" if self.outstanding else "waiting")


@dataclass(frozen=True, slots=True)
class Finished:
    """One generation of a batch that is over.

    Attributes:
        mark: by which the next ones are asked for.
        id: the generation's.
        index: its request's place in the batch, from 0.
        result: None where its record is gone, or it is made again.
    """

    mark: str
    id: str
    index: int
    result: BatchResult | None


def entries_of(streams: Any) -> list[Any]:
    """The entries in an answer to `finished_read`: of the one stream that was read."""
    if isinstance(streams, dict):  # RESP3
        return [entry for pages in streams.values() for page in pages for entry in page]
    return [entry for _, entries in streams or [] for entry in entries]


def parse_finished(entries: list[Any], results: Sequence[str | None]) -> list[Finished]:
    """The finished generations, by the answers to `result_reads`."""
    return [
        Finished(mark, fields["id"], int(fields["index"]), read_result(result) if result else None)
        for (mark, fields), result in zip(entries, results, strict=True)
    ]
