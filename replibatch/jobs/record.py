"""The record of one generation, and the messages about it."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import NamedTuple, Self

from replibatch.jobs.links import Call
from replibatch.jobs.packing import read_attempts, read_request
from replibatch.money import to_usd
from replibatch.requests import Attempt, RoutedRequest

_ID = re.compile(r"[\w.@-]{1,200}", re.ASCII)


def is_id(text: object) -> bool:
    """Whether it can be the id of a job or a batch: any other would name another key, or another part of one."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


class Message(NamedTuple):
    """A wake-up for the Celery queue."""

    id: str
    attempt: int
    model: str
    priority: int


class Notice(NamedTuple):
    """A notice to others about a generation, given in the same script that makes the change.

    Attributes:
        key: where the text is kept, and the channel of those who listen for it.
        text: the notice.
        seconds: how long it is kept.
    """

    key: str
    text: str
    seconds: int


class Settled(NamedTuple):
    """To be published after a settle: the next messages of the generation's batches, the call of its link."""

    messages: list[Message]
    calls: list[Call]


@dataclass(frozen=True)
class Record:
    """A generation in the custody of a process.

    Attributes:
        id: the generation's, and its Celery task's.
        state: `publishing` or `running`.
        fence: the custody's fencing number.
        attempt: the number of the current attempt, from 1.
        model: the current attempt's.
        request: what was asked for.
        attempts: those that are over.
        sent: what the current attempt's last create is recognised by; None where none was about to be sent.
        sent_at: when that was about to be sent, on this process's monotonic clock.
        prediction_id: of the current attempt, once created.
        paid_usd: what it cost, where it ended while no task had the generation.
        created_at: when that was, on this process's monotonic clock: the clocks of machines may be wrong.
        started_at: when the first attempt began, on the same; none of its POSTs is older.
        pause_seconds: how long to wait before this attempt.
        batch: its batch; empty for a single job.
        budget: the budget it also draws on; empty for none but the account's.
        index: its place in the batch, from 0.
        catalog: of a single job: the models of its chain, JSON by name.
        priority: of its messages, 0 first.
        canceling: whether its owner wants it canceled.
        counted: how many attempts of its item were counted with an earlier result.
        booked: what its batch has counted of its cost already, in micro-dollars.
    """

    id: str
    state: str
    fence: int
    attempt: int
    model: str
    request: RoutedRequest
    attempts: tuple[Attempt, ...]
    sent: str | None
    sent_at: float | None
    prediction_id: str | None
    paid_usd: float
    created_at: float | None
    started_at: float | None
    pause_seconds: float
    batch: str
    budget: str
    index: int
    catalog: str
    priority: int
    canceling: bool
    counted: int = 0
    booked: int = 0

    @classmethod
    def parse(cls, generation_id: str, flat: list[str]) -> Self:
        """From HGETALL's flat list with `now`, Redis' time, besides, as scripts return it."""
        fields = dict(zip(flat[::2], flat[1::2], strict=True))

        def at(name: str) -> float | None:
            seconds_ago = (int(fields["now"]) - int(fields.get(name, 0))) / 1000
            return time.monotonic() - max(0.0, seconds_ago) if name in fields else None

        return cls(
            id=generation_id,
            state=fields["state"],
            fence=int(fields["fence"]),
            attempt=int(fields["attempt"]),
            model=fields["model"],
            request=read_request(generation_id, fields["request"]),
            attempts=read_attempts(fields.get("attempts", "[]")),
            sent=fields.get("sent"),
            sent_at=at("sent_at"),
            prediction_id=fields.get("prediction"),
            paid_usd=to_usd(int(fields.get("paid", 0))),
            created_at=at("created"),
            started_at=at("started"),
            pause_seconds=int(fields.get("pause", 0)) / 1000,
            batch=fields.get("batch", ""),
            budget=fields.get("budget") or fields.get("batch", ""),
            index=int(fields.get("index", 0)),
            catalog=fields.get("catalog", ""),
            priority=int(fields.get("priority", 0)),
            canceling="canceling" in fields,
            counted=int(fields.get("counted", 0)),
            booked=int(fields.get("booked", 0)),
        )

    @property
    def has_begun(self) -> bool:
        """Whether anything was created for its item, or may have been: then it goes on to its end."""
        goes_on = self.attempt > 1 and self.request.made  # with the next step
        return bool(self.sent or goes_on or any(attempt.prediction_id for attempt in self.attempts))

    @property
    def attempt_key(self) -> str:
        """The current attempt's name at the limiter and on predictions."""
        return f"{self.id}:{self.attempt}"
