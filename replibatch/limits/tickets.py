"""The words of the limiter: what an attempt brings to it, where it stands there, and what its answers are made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Standing(StrEnum):
    """Where an attempt stands at the limiter."""

    CLAIMED = "claimed"  # the caller may send its POST, now
    CREATED = "created"  # it holds a slot, and its prediction was created
    WAITING = "waiting"
    UNSETTLED = "unsettled"  # taken over with its POST unanswered: find out first
    STOPPED = "stopped"  # the account is stopped (token, credit)
    UNAFFORDABLE = "unaffordable"  # its price does not fit a budget
    OUT = "out"  # its model is, and its item is to go on with the next
    FENCED = "fenced"  # a later owner has it
    GRANTED = "granted"  # handed off, not yet claimed
    UNKNOWN = "unknown"  # neither waits nor holds
    WITHDRAWN = "withdrawn"  # its process is draining, or its owner has canceled


@dataclass(frozen=True)
class Ticket:
    """What an attempt brings to the limiter.

    Attributes:
        attempt_key: `generation:number`, the holder of the slot; `prediction:id` for an orphaned prediction.
        fence: the custody's fencing number; a later one wins.
        price_usd: reserved with the slot, settled when it is released; None if unknown, which no budget
            grants.
        budget: the batch with a budget that it also draws on; empty for none.
        priority: 0 is first.
        model: what makes it; empty for none in particular.
        has_steps: whether it is for one of several steps of an item.
        whole_usd: then the price with those of the steps to come; None where one is not known.
        yields: whether it leaves the line while its model is out, as its item goes on with the next; None for as was
            said of the item before.
    """

    attempt_key: str
    fence: int
    price_usd: float | None
    budget: str = ""
    priority: int = 5
    model: str = ""
    has_steps: bool = False
    whole_usd: float | None = None
    yields: bool | None = None


class Beat(NamedTuple):
    """What a heartbeat learns.

    Attributes:
        known: whether the process was alive to the others until now.
        must_report: whether the account's state was lost, and the process must say what it holds.
        handed: attempts of its that have a slot and no answer to their create; some may not know yet.
        again_seconds: until asking again helps, if time will.
        snapshot: to be handed back with a report; empty while the state is not trusted.
        max_concurrent: the limit in force.
        in_flight: how many slots are held, by all processes.
        outages: the names of outages and of recent failures.
    """

    known: bool
    must_report: bool
    handed: list[str]
    again_seconds: float | None
    snapshot: str
    max_concurrent: int
    in_flight: int
    outages: frozenset[str]


class Row(NamedTuple):
    """A prediction of the account's own list.

    Attributes:
        id: Replicate's.
        runs: whether it is not over.
        age_seconds: since its creation.
    """

    id: str
    runs: bool
    age_seconds: float
