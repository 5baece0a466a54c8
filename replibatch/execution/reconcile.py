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

from replibatch.replicate_api import Prediction, ReplicateAPI

LOOKS_AT_LEAST = 3
LAST_LOOK_SECONDS = 1.0  # a look that takes longer is not waited for
CLOCK_SLACK = timedelta(minutes=5)  # the list's clock is Replicate's

log = structlog.get_logger(__name__)


@dataclass
class Unsettled:
    """A create whose reply was lost.

    Attributes:
        attempt_key: the attempt it was for.
        model: `owner/name`, or `owner/name:version`.
        sent: the fingerprint of model and inputs, exactly as they were sent; None where nothing was.
        claim: called with a candidate; whether it is now this attempt's (nobody else had claimed it).
        on_found: called once, after a successful claim.
        on_absent: called once, when it surely was not created.
        given_up: asked where it may be among predictions Replicate has erased, which nobody can tell any more; with
            True it counts as not created: its owner has canceled, so nothing is made in its place.
        sent_at: no later than when it was sent, on the monotonic clock; None for a moment ago.
    """

    attempt_key: str
    model: str
    sent: str | None
    claim: Callable[[Prediction], bool]
    on_found: Callable[[Prediction], None]
    on_absent: Callable[[], None]
    given_up: Callable[[], bool] = lambda: False
    sent_at: float | None = None


@dataclass
class _Search:
    item: Unsettled
    began: float
    after: datetime
    looks: int = 0


class Reconciler:
    """Looks through the account's list for lost creates.

    Args:
        api: the account's API.
        settle_seconds: how long a create may take to show up.
    """

    def __init__(self, api: ReplicateAPI, settle_seconds: float) -> None:
        self._api = api
        self._settle_seconds = settle_seconds
        self._pause_seconds = min(2.0, settle_seconds / (LOOKS_AT_LEAST + 1))
        self._searches: dict[str, _Search] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking; what is unsettled stays so, for whoever takes over."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(LAST_LOOK_SECONDS)

    def submit(self, item: Unsettled) -> None:
        """Look for a lost create; one of its callbacks will be called from the reconciler's thread.

        A later search for the same attempt takes the place of an earlier one, whose owner has lost custody since.
        """
        now = time.monotonic()
        age = timedelta(seconds=0.0 if item.sent_at is None else now - item.sent_at)
        search = _Search(item, now, self._api.now() - age - CLOCK_SLACK)
        with self._changed:
            self._searches[item.attempt_key] = search
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._searches and not self._stopping:
                    self._changed.wait()
                if not self._stopping:
                    self._changed.wait(self._pause_seconds)
                if self._stopping:
                    return
                searches = list(self._searches.values())
            try:
                self._look(searches)
            except Exception as error:  # noqa: BLE001  # whatever is wrong, nothing is paid for again meanwhile
                log.warning("could not look for lost creates", error=str(error), waiting=len(searches))

    def _look(self, searches: list[_Search]) -> None:
        began = time.monotonic()
        erased: set[str] = set()
        open_searches = list(searches)
        for page in self._api.newest(created_after=min(search.after for search in searches)):
            for prediction in page:
                if prediction.source == "web":
                    continue
                if prediction.data_removed:
                    erased.add(prediction.model)
                found = fingerprint(prediction.model, prediction.input)
                for search in [search for search in open_searches if search.item.sent == found]:
                    if search.item.claim(prediction):
                        open_searches.remove(search)
                        self._done(search)
                        search.item.on_found(prediction)
                        break
            if not open_searches:
                return
        for search in open_searches:
            search.looks += 1
            if began - search.began < self._settle_seconds or search.looks < LOOKS_AT_LEAST:
                continue
            if _name(search.item.model) in erased and not search.item.given_up():
                log.warning(
                    "a lost create may be among predictions already erased; it waits until it is canceled",
                    attempt=search.item.attempt_key,
                )
                continue
            self._done(search)
            search.item.on_absent()

    def _done(self, search: _Search) -> None:
        with self._changed:
            if self._searches.get(search.item.attempt_key) is search:
                del self._searches[search.item.attempt_key]


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
