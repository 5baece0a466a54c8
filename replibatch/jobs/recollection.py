"""What a process remembers of its generations, for a failover to an older copy of the records.

An asynchronous replica lacks the last moments: what was made in them would be made, and paid for, again.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import replace
from typing import Any, NamedTuple

from replibatch.jobs.packing import compact
from replibatch.jobs.record import Record
from replibatch.jobs.webhooks import owed_start
from replibatch.money import to_micro
from replibatch.redisdb.scripts import Step

KEPT_SECONDS = 600.0  # longer than any replica lags behind that is still promoted
MOST_KEPT = 5000
SAME_LIFE = 10  # fences apart: the first is a time in ms, and each custody adds one


class Ended(NamedTuple):
    """A generation that has its result: the record before it, and the step that wrote it."""

    at: float
    record: Record
    step: Step
    succeeded: bool


class Recollection:
    """The generations of one process: those it has, and those it has settled of late. Thread-safe."""

    def __init__(self) -> None:
        self._held: dict[str, Record] = {}
        self._ended: OrderedDict[str, Ended] = OrderedDict()
        self._lock = threading.Lock()

    def hold(self, record: Record) -> None:
        """Remember a record that this process has custody of."""
        with self._lock:
            self._held[record.id] = record

    def knows_more(self, record: Record) -> bool:
        """Whether a record just taken is from an older copy: this process is further on with it, or has ended it."""
        with self._lock:
            if (held := self._held.get(record.id)) and record.attempt <= held.attempt:
                return _is_behind(record, held)
            ended = self._ended.get(record.id)
            if ended is None:
                return False
            if ended.succeeded and ended.record.batch:  # no batch makes a success again
                return record.batch == ended.record.batch
            if record.request.asked != ended.record.request.asked:  # the id was given anew, to another request
                return False
            # What is made again begins with a fence of that time; each custody adds one.
            is_same_life = record.fence <= ended.record.fence + SAME_LIFE and record.attempt <= ended.record.attempt
            return is_same_life and _is_behind(record, ended.record)

    def note(self, record: Record, *, sent: str | None = None, prediction_id: str | None = None) -> None:
        """A create is about to be sent for it, or has been answered."""
        with self._lock:
            known = self._held.get(record.id, record)
            if known.fence == record.fence:
                changed = replace(known, sent=sent or known.sent, prediction_id=prediction_id or known.prediction_id)
                self._held[record.id] = replace(changed, created_at=time.monotonic()) if prediction_id else changed

    def let_go(self, generation_id: str) -> None:
        """The process has given it up."""
        with self._lock:
            self._held.pop(generation_id, None)

    def end(self, record: Record, step: Step, *, succeeded: bool) -> None:
        """It has its result."""
        with self._lock:
            known = self._held.pop(record.id, record)
            self._ended[record.id] = Ended(time.monotonic(), known, step, succeeded)
            oldest = time.monotonic() - KEPT_SECONDS
            while len(self._ended) > MOST_KEPT or (self._ended and next(iter(self._ended.values())).at < oldest):
                self._ended.popitem(last=False)

    def all(self) -> list[tuple[Record, Step | None]]:
        """Every generation, with the step that settled it, if one has."""
        with self._lock:
            ended = [(each.record, each.step) for each in self._ended.values() if each.record.id not in self._held]
            return [*((record, None) for record in self._held.values()), *ended]


def _is_behind(record: Record, known: Record) -> bool:
    return bool(known.prediction_id and not record.prediction_id) or bool(known.sent and not record.sent)


def as_known(record: Record) -> list[Any]:
    """A record for `recall`: its id, its attempt's name, its fields, ms since its create and since its start, and the
    webhook owed for its start, in case the records do not know of its prediction."""
    fields = {
        "request": compact(record.request.to_json()),
        "attempt": str(record.attempt),
        "model": record.model,
        "attempts": compact([attempt.__dict__ for attempt in record.attempts]),
        "fence": str(record.fence),
        "priority": str(record.priority),
        "prediction": record.prediction_id,
        "sent": record.sent,
        "catalog": record.catalog,
        "paid": record.paid_usd and str(to_micro(record.paid_usd)),
        "booked": record.booked and str(record.booked),
        "counted": record.counted and str(record.counted),
    }
    if record.batch:
        fields |= {"batch": record.batch, "index": str(record.index)}
    if record.budget != record.batch:
        fields["budget"] = record.budget
    ages = [
        -1 if at is None else int((time.monotonic() - at) * 1000) for at in (record.created_at, record.started_at)
    ]
    return [
        record.id,
        record.attempt_key,
        {name: value for name, value in fields.items() if value},
        *ages,
        owed_start(record),
    ]
