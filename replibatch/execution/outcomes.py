"""The possible outcomes of an attempt."""

from __future__ import annotations

from dataclasses import dataclass

from replibatch.jobs import Message, Settled
from replibatch.redisdb.scripts import Step
from replibatch.requests import BatchResult


@dataclass(frozen=True)
class Done:
    """The generation has its one result; `settled` is to be published."""

    result: BatchResult
    settled: Settled


@dataclass(frozen=True)
class Next:
    """Another attempt, or another step, follows; its message is to be published. `why` says so to people."""

    message: Message
    why: str


@dataclass(frozen=True)
class Left:
    """This process goes no further with the generation; `epilogue` runs once the task has ended."""

    why: str
    epilogue: Step | None = None


@dataclass(frozen=True)
class SteppedAside:
    """The generation is another process's, or over."""


Outcome = Done | Next | Left | SteppedAside


class Leave(Exception):
    """Ends an attempt early, with an outcome."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
