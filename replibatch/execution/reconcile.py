"""The reconciler: finds out what became of creates whose reply was lost, before anything is paid for again.

One thread a process goes through the account's list for all of them at once. A prediction with the same model and
the same input, made in those minutes and claimed by nobody, is the one: two generations with equal input are
interchangeable. Not found within the settle time, it was not created.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from replibatch.errors import ReplibatchError
from replibatch.jobs import Record
from replibatch.limits import Ticket
from replibatch.redisdb.loop import Loop
from replibatch.replicate_api import Prediction, ReplicateAPI

POLLS_AT_LEAST = 3
LAST_POLL_SECONDS = 1.0  # a poll that takes longer is not waited for
CLOCK_SLACK = timedelta(minutes=5)  # the list's clock is Replicate's

log = structlog.get_logger(__name__)


@dataclass(eq=False)
class Lost:
    """A create whose reply was lost.

    Attributes:
        record: the generation's; `started_at` is no later than when the create was sent.
        ticket: the attempt's.
        sent: the fingerprint of model and inputs, exactly as they were sent; None where nothing was.
        is_open: False once it is known what became of it.
        found: its prediction, claimed for the attempt; None where it surely was not created.
    """

    record: Record
    ticket: Ticket
    sent: str | None
    is_open: bool = True
    found: Prediction | None = None


@dataclass(eq=False)
class _Search:
    lost: Lost
    tell: Callable[[], object]
    began: float
    after: datetime
    polls: int = 0


class Reconciler:
    """Looks through the account's list for lost creates.

    Args:
        api: the account's API.
        claim: makes a prediction an attempt's; what it answers is that of `Jobs.created_step`.
        to_cancel: the generations of this process whose owners want them canceled.
        settle_seconds: how long a create may take to show up.
    """

    def __init__(
        self,
        api: ReplicateAPI,
        claim: Callable[[Record, Ticket, str], str],
        to_cancel: Callable[[], set[str]],
        settle_seconds: float,
    ) -> None:
        self._api = api
        self._claim = claim
        self._to_cancel = to_cancel
        self._settle_seconds = settle_seconds
        self._pause_seconds = min(2.0, settle_seconds / (POLLS_AT_LEAST + 1))
        self._searches: dict[str, _Search] = {}
        self._lock = threading.Lock()
        self._submitted = threading.Event()
        self._loop = Loop("reconcile", self._step, wake=self._submitted.set, away_seconds=self._pause_seconds)

    def start(self) -> None:
        """Begin to look."""
        self._loop.start()

    def stop(self) -> None:
        """Stop looking; what is open stays so, for whoever takes over."""
        self._loop.stop(LAST_POLL_SECONDS)

    def submit(self, lost: Lost, tell: Callable[[], object]) -> None:
        """Look for a lost create.

        A later search for the same attempt takes the place of an earlier one, whose owner has lost custody since.

        Args:
            lost: the create; it says itself what became of it.
            tell: called then, from the reconciler's thread.
        """
        now, sent_at = time.monotonic(), lost.record.started_at
        age = timedelta(seconds=0.0 if sent_at is None else now - sent_at)
        search = _Search(lost, tell, now, self._api.now() - age - CLOCK_SLACK)
        with self._lock:
            self._searches[lost.ticket.attempt_key] = search
            self._submitted.set()

    def _step(self) -> float | None:
        self._submitted.wait()
        with self._lock:
            searches = list(self._searches.values())
            if not searches:
                self._submitted.clear()
        if searches and not self._loop.stopping:
            try:
                self._poll(searches)
            except ReplibatchError as error:  # nothing is paid for again meanwhile
                log.warning("could not look for lost creates", error=str(error), waiting=len(searches))
        return self._pause_seconds

    def _poll(self, searches: list[_Search]) -> None:
        began = time.monotonic()
        erased: set[str] = set()
        missing = list(searches)
        for page in self._api.newest(created_after=min(search.after for search in searches)):
            for prediction in page:
                if prediction.source == "web":
                    continue
                if prediction.data_removed:
                    erased.add(prediction.model)
                found = fingerprint(prediction.model, prediction.input)
                for search in [search for search in missing if search.lost.sent == found]:
                    if self._claim(search.lost.record, search.lost.ticket, prediction.id) in ("ok", "gone"):
                        missing.remove(search)
                        self._close(search, prediction)
                        break
            if not missing:
                return
        for search in missing:
            search.polls += 1
            if began - search.began < self._settle_seconds or search.polls < POLLS_AT_LEAST:
                continue
            record = search.lost.record
            if _name(record.model) in erased and record.id not in self._to_cancel():
                log.warning(
                    "a lost create may be among predictions already erased; it waits until it is canceled",
                    attempt=record.attempt_key,
                )
                continue
            self._close(search, None)

    def _close(self, search: _Search, found: Prediction | None) -> None:
        with self._lock:
            if self._searches.get(search.lost.ticket.attempt_key) is search:
                del self._searches[search.lost.ticket.attempt_key]
        search.lost.found, search.lost.is_open = found, False
        search.tell()


def fingerprint(model: str, inputs: dict[str, Any]) -> str:
    """What a create is recognised by, equal for equal requests. No version, as the list has none; 1.0 is 1."""
    canonical = f"{_name(model)} {json.dumps(_plain(inputs), sort_keys=True, separators=(',', ':'))}"
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


def _name(model: str) -> str:
    return model.partition(":")[0]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
