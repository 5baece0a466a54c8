"""The books: what was asked, what ran, and what it cost, as the service itself would count it.

Written by the server's thread, read from any.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import Any

from replibatch.sandbox.clock import iso
from replibatch.sandbox.predictions import Prediction


@dataclass
class Bill:
    """What one input of one model was billed.

    Attributes:
        model: `owner/name`.
        input: as it was sent.
        prediction_ids: every prediction created with it.
        billed: how many of those cost something.
        cost_usd: the cost of all predictions together.
    """

    model: str
    input: dict[str, Any]
    prediction_ids: list[str] = field(default_factory=list)
    billed: int = 0
    cost_usd: float = 0.0


def most_in_window(times: Sequence[float], seconds: float) -> int:
    """The most of these ascending times that lie within any sliding window of that length (one end open)."""
    most = first = 0
    for last, at in enumerate(times):
        while at - times[first] >= seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def _key(model: str, inputs: dict[str, Any]) -> tuple[str, str]:
    return model, json.dumps(inputs, sort_keys=True, separators=(",", ":"))


class Books:
    """The books of one stand-in, over all its accounts.

    A prediction is in flight from the acceptance of its POST until it is over.

    Attributes:
        in_flight: predictions in flight now.
        peak_in_flight: the most there ever were.
        busy_slot_seconds: the integral of `in_flight` over time, up to the last create.
        create_times: when each prediction was created, in Unix seconds.
        post_times: when each POST of a create arrived, refused ones too.
        posts_by_status: those POSTs by their answer: an HTTP status, `dropped` or `no reply`.
        reads_by_kind: all other requests to the API: `get`, `list`, `cancel`, `account`, `model`, `file`.
        ended_by_status: predictions that are over.
        throttled: answers of 429, to creates and reads.
        cancels: predictions canceled by a request.
        cost_usd: everything billed.
        outputs_served: whole downloads, by prediction.
        outputs_cut_short: downloads that ended early, by prediction.
        outputs_with_token: predictions that had an output requested with a token, one entry a request.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self.in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Start new books; they carry over only the predictions in flight."""
        with self._lock:
            self.peak_in_flight = self.in_flight
            self.busy_slot_seconds = 0.0
            self._busy_until: float | None = None
            self._busy_since_create = 0.0
            self.create_times = array("d")
            self.post_times = array("d")
            self.read_times = array("d")
            self.posts_by_status: Counter[str] = Counter()
            self.reads_by_kind: Counter[str] = Counter()
            self.ended_by_status: Counter[str] = Counter()
            self.throttled = 0
            self.cancels = 0
            self.cost_usd = 0.0
            self.outputs_served: Counter[str] = Counter()
            self.outputs_cut_short: Counter[str] = Counter()
            self.outputs_with_token: list[str] = []
            self._bills: dict[tuple[str, str], Bill] = {}

    # What the server writes.

    def post_arrived(self, at: float) -> None:
        """A create arrived, to be answered one way or another."""
        with self._lock:
            self.post_times.append(at)

    def post_answered(self, status: str) -> None:
        """A create was answered: with an HTTP status, or not (`dropped`, `no reply`)."""
        with self._lock:
            self.posts_by_status[status] += 1
            self.throttled += status == "429"

    def read(self, at: float, kind: str, *, throttled: bool) -> None:
        """Another request to the API."""
        with self._lock:
            self.read_times.append(at)
            self.reads_by_kind[kind] += 1
            self.throttled += throttled

    def created(self, prediction: Prediction) -> None:
        """A prediction was created, and is in flight from now on."""
        with self._lock:
            self._busy_to(prediction.created_at)
            if self.create_times:
                self.busy_slot_seconds += self._busy_since_create
            self._busy_since_create = 0.0
            self.in_flight += 1
            self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
            self.create_times.append(prediction.created_at)
            self._bill(prediction).prediction_ids.append(prediction.id)

    def ended(self, prediction: Prediction, at: float, cost_usd: float) -> None:
        """A prediction is over."""
        with self._lock:
            self._busy_to(at)
            self.in_flight -= 1
            self.ended_by_status[prediction.status] += 1
            if cost_usd > 0:
                bill = self._bill(prediction)
                bill.billed += 1
                bill.cost_usd += cost_usd
                self.cost_usd += cost_usd

    def canceled(self) -> None:
        """A request canceled a prediction."""
        with self._lock:
            self.cancels += 1

    def output_asked_for(self, prediction_id: str, *, with_token: bool) -> None:
        """A download began."""
        if with_token:
            with self._lock:
                self.outputs_with_token.append(prediction_id)

    def output_sent(self, prediction_id: str, *, whole: bool) -> None:
        """A download ended."""
        with self._lock:
            (self.outputs_served if whole else self.outputs_cut_short)[prediction_id] += 1

    # What anybody reads.

    @property
    def first_create_at(self) -> float | None:
        """When the first prediction was created, in Unix seconds."""
        return self.create_times[0] if self.create_times else None

    @property
    def last_create_at(self) -> float | None:
        """When the last prediction was created, in Unix seconds."""
        return self.create_times[-1] if self.create_times else None

    def most_creates(self, window_seconds: float) -> int:
        """The most predictions created in any sliding window of that length."""
        with self._lock:
            return most_in_window(self.create_times, window_seconds)

    def most_posts(self, window_seconds: float) -> int:
        """The most POSTs of creates, refused ones too, in any sliding window of that length."""
        with self._lock:
            return most_in_window(self.post_times, window_seconds)

    def most_reads(self, window_seconds: float = 60.0) -> int:
        """The most other requests to the API in any sliding window of that length."""
        with self._lock:
            return most_in_window(self.read_times, window_seconds)

    def bills(self) -> list[Bill]:
        """What each input was billed, in the order of their first creates. Do not change them."""
        with self._lock:
            return list(self._bills.values())

    def bill(self, model: str, inputs: dict[str, Any]) -> Bill:
        """What one input of one model was billed; an empty bill if it never came."""
        with self._lock:
            return self._bills.get(_key(model, inputs), Bill(model, inputs))

    def billed_by_prompt(self) -> Counter[str]:
        """How many predictions were billed for each prompt, whatever model made them."""
        with self._lock:
            counts: Counter[str] = Counter()
            for bill in self._bills.values():
                counts[str(bill.input.get("prompt"))] += bill.billed
            return counts

    def paid_twice(self) -> list[Bill]:
        """Inputs that were billed more than once."""
        return [bill for bill in self.bills() if bill.billed > 1]

    def to_json(self, window_seconds: float = 60.0, *, summary: bool = False) -> dict[str, Any]:
        """Everything, as JSON.

        Args:
            window_seconds: for the most creates and POSTs in any window.
            summary: leave out what grows with the number of predictions.
        """
        with self._lock:
            totals: dict[str, Any] = {
                "in_flight": self.in_flight,
                "peak_in_flight": self.peak_in_flight,
                "busy_slot_seconds": self.busy_slot_seconds,
                "creates": len(self.create_times),
                "first_create_at": iso(self.first_create_at),
                "last_create_at": iso(self.last_create_at),
                "window_seconds": window_seconds,
                "most_creates_in_window": self.most_creates(window_seconds),
                "most_posts_in_window": self.most_posts(window_seconds),
                "posts_by_status": dict(self.posts_by_status),
                "reads_by_kind": dict(self.reads_by_kind),
                "most_reads_in_a_minute": self.most_reads(),
                "throttled": self.throttled,
                "ended_by_status": dict(self.ended_by_status),
                "cancels": self.cancels,
                "inputs": len(self._bills),
                "billed": sum(bill.billed for bill in self._bills.values()),
                "inputs_paid_twice": len(self.paid_twice()),
                "cost_usd": round(self.cost_usd, 6),
                "outputs_served": self.outputs_served.total(),
                "outputs_cut_short": self.outputs_cut_short.total(),
                "outputs_asked_for_with_token": len(self.outputs_with_token),
            }
            if summary:
                return totals
            return totals | {
                "create_times": list(self.create_times),
                "bills": [vars(bill) for bill in self._bills.values()],
                "outputs_served_by_prediction": dict(self.outputs_served),
                "outputs_with_token": list(self.outputs_with_token),
            }

    def _bill(self, prediction: Prediction) -> Bill:
        key = _key(prediction.model_name, prediction.input)
        return self._bills.setdefault(key, Bill(prediction.model_name, prediction.input))

    def _busy_to(self, at: float) -> None:
        if self._busy_until is not None:
            self._busy_since_create += self.in_flight * (at - self._busy_until)
        self._busy_until = at
