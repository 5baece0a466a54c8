"""Rebuilds the account's state at the limiter once it was lost, from the account's own list of predictions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta

import structlog
from redis.exceptions import RedisError

from replibatch.errors import ReplibatchError
from replibatch.limits import Limiter, Row
from replibatch.limits.limiter import SLOT_MARGIN_SECONDS
from replibatch.polling import Watcher
from replibatch.redisdb.scripts import run_together
from replibatch.replicate_api import Prediction, ReplicateAPI

TROUBLE_SECONDS = 1.0
USUAL_SECONDS = 10.0  # of a prediction nobody here has created, until one of its model has been seen to end

log = structlog.get_logger(__name__)


class Rebuild:
    """Lists what runs, tells the limiter, and watches what nobody answers for until it has given its slot back.

    Args:
        api: the account's API.
        limiter: the account's limiter.
        watcher: the process's.
        prediction_timeout_seconds: nothing older than this runs.
        window_seconds: creates younger than this count against the rate.
    """

    def __init__(
        self,
        api: ReplicateAPI,
        limiter: Limiter,
        watcher: Watcher,
        *,
        prediction_timeout_seconds: float,
        window_seconds: float,
    ) -> None:
        self._api = api
        self._limiter = limiter
        self._watcher = watcher
        self._window_seconds = window_seconds
        self._oldest = timedelta(seconds=max(prediction_timeout_seconds + SLOT_MARGIN_SECONDS, window_seconds))
        self._lock = threading.Lock()
        self._is_under_way = False
        self._stopping = threading.Event()

    def begin(self) -> None:
        """Rebuild the state in a thread of its own, unless that is under way."""
        with self._lock:
            if self._is_under_way or self._stopping.is_set():
                return
            self._is_under_way = True
        threading.Thread(target=self._run, name="recovery", daemon=True).start()

    def stop(self) -> None:
        """Leave it to the others."""
        self._stopping.set()

    def _run(self) -> None:
        wait_seconds: float | None = 0.0
        try:
            while wait_seconds is not None and not self._stopping.wait(wait_seconds):
                try:
                    wait_seconds = self._rebuild()
                except (ReplibatchError, RedisError) as error:
                    log.warning("could not rebuild the account's state", error=str(error))
                    wait_seconds = TROUBLE_SECONDS
        finally:
            with self._lock:
                self._is_under_way = False

    def _rebuild(self) -> float | None:
        listed = {prediction.id: prediction for prediction in self._listed()}
        now = self._api.now()
        rows = [Row(key, not item.is_over, _age_seconds(item, now)) for key, item in listed.items()]
        wait_seconds, orphans = self._limiter.rebuild(
            row for row in rows if row.runs or row.age_seconds < self._window_seconds
        )
        if wait_seconds is None:
            log.info("the account's state is rebuilt", nobodys=len(orphans))
        for prediction_id in orphans:
            self._watcher.watch(prediction_id, listed[prediction_id].model, USUAL_SECONDS, self._give_back)
        return wait_seconds

    def _listed(self) -> Iterator[Prediction]:
        for page in self._api.newest(created_after=self._api.now() - self._oldest):
            yield from page

    def _give_back(self, ended: Prediction) -> None:
        run_together(self._limiter.redis, self._limiter.released(self._limiter.orphan(ended.id), 0.0))


def _age_seconds(prediction: Prediction, now: datetime) -> float:
    return max(0.0, (now - prediction.created_at).total_seconds()) if prediction.created_at else 0.0
