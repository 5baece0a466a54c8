"""What an attempt can come to."""

from __future__ import annotations

from dataclasses import dataclass

from replibatch.errors import AttemptFailure
from replibatch.jobs import Message, Settled
from replibatch.redisdb.scripts import Step
from replibatch.requests import BatchResult


@dataclass(frozen=True)
class Done:
    """The generation has its one result; what follows from that is to be published."""

    result: BatchResult
    settled: Settled


@dataclass(frozen=True)
class Next:
    """Another attempt follows; its message is to be published."""

    message: Message
    failure: AttemptFailure


@dataclass(frozen=True)
class Left:
    """This process goes no further with it; `epilogue` is to be run once the task has ended."""

    why: str
    epilogue: Step | None = None


@dataclass(frozen=True)
class SteppedAside:
    """The generation is somebody else's, or over."""


Outcome = Done | Next | Left | SteppedAside


class Leave(Exception):
    """Ends an attempt early, with an outcome."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
