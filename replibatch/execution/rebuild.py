"""Rebuilds the account's state at the limiter once it was lost, from the account's own list of predictions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta

import structlog

from replibatch.errors import ApiUnreachable, NoList, ReplibatchError
from replibatch.limits import Limiter, Row
from replibatch.limits.limiter import SLOT_MARGIN_SECONDS
from replibatch.limits.outages import READS, Fault
from replibatch.polling import Watcher
from replibatch.redisdb.loop import Loop
from replibatch.replicate_api import Prediction, ReplicateAPI
from replibatch.replicate_api.calls import PATIENT_SECONDS

TROUBLE_SECONDS = 1.0
FIRST_PAGE_SECONDS = 4.0  # for a page of the list, so that an outage is said soon; doubled with each try
USUAL_SECONDS = 10.0  # of an orphan, until the watcher has learned its model's

log = structlog.get_logger(__name__)


class Rebuild:
    """Lists the running predictions for the limiter, and watches the orphans among them until their slots are free.

    Args:
        api: the account's API.
        limiter: the account's limiter.
        watcher: the process's.
        state_lost: set while the state is lost and this process has reported.
        prediction_timeout_seconds: nothing older than this runs.
        window_seconds: creates younger than this count against the rate.
    """

    def __init__(
        self,
        api: ReplicateAPI,
        limiter: Limiter,
        watcher: Watcher,
        state_lost: threading.Event,
        *,
        prediction_timeout_seconds: float,
        window_seconds: float,
    ) -> None:
        self._api = api
        self._limiter = limiter
        self._watcher = watcher
        self._window_seconds = window_seconds
        self._oldest = timedelta(seconds=max(prediction_timeout_seconds + SLOT_MARGIN_SECONDS, window_seconds))
        self._state_lost = state_lost
        self._has_failed = False
        self._page_seconds = FIRST_PAGE_SECONDS
        self._loop = Loop("rebuild", self._step, wake=state_lost.set, away_seconds=TROUBLE_SECONDS)

    def start(self) -> None:
        """Begin to wait for a state that is lost."""
        self._loop.start()

    def stop(self) -> None:
        """Leave the rebuilding to the others."""
        self._loop.stop()

    def _step(self) -> float:
        self._state_lost.wait()
        if self._loop.stopping:
            return 0.0
        try:
            wait_seconds = self._rebuild()
        except ReplibatchError as error:
            log.warning("could not rebuild the account's state", error=str(error))
            kind = error.kind if isinstance(error, ApiUnreachable) else "error"
            self._limiter.report_fault(Fault(READS, kind, str(error)))
            self._has_failed = True
            self._page_seconds = min(PATIENT_SECONDS, 2 * self._page_seconds)
            return TROUBLE_SECONDS
        if self._has_failed:
            self._limiter.report_success(READS)
            self._has_failed = False
        self._page_seconds = FIRST_PAGE_SECONDS
        if wait_seconds is None:
            self._state_lost.clear()  # a heartbeat sets it again, should it be lost anew
        return wait_seconds or 0.0

    def _rebuild(self) -> float | None:
        listed = {prediction.id: prediction for prediction in self._listed()}
        now = self._api.now()
        rows = [Row(key, not item.is_over, _age_seconds(item, now)) for key, item in listed.items()]
        wait_seconds, orphans = self._limiter.rebuild(
            row for row in rows if row.runs or row.age_seconds < self._window_seconds
        )
        if wait_seconds is None:
            log.info("the account's state is rebuilt", orphans=len(orphans))
        for prediction_id in orphans:
            self._watcher.watch(prediction_id, listed[prediction_id].model, USUAL_SECONDS, self._give_back)
        return wait_seconds

    def _listed(self) -> Iterator[Prediction]:
        after = self._api.now() - self._oldest
        try:
            for page in self._api.newest(created_after=after, page_seconds=self._page_seconds):
                yield from page
        except NoList as error:
            log.warning("limits hold only as long as Redis keeps its data", error=str(error))

    def _give_back(self, ended: Prediction) -> None:
        self._limiter.release(self._limiter.orphan(ended.id))


def _age_seconds(prediction: Prediction, now: datetime) -> float:
    return max(0.0, (now - prediction.created_at).total_seconds()) if prediction.created_at else 0.0
