"""The watcher: one thread a process that sees every prediction of the process end, at a pace that suits their models.

It lists the account's newest predictions, up to 100 a request, and asks singly only for those the list has not shown.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from replibatch.errors import AttemptFailure, Throttled, TokenRefused
from replibatch.replicate_api.client import ReplicateAPI
from replibatch.replicate_api.predictions import Prediction

FASTEST_LOOK_SECONDS = 0.1
SLOWEST_LOOK_SECONDS = 5.0
PACE = 0.1  # of a model's usual time passes between two looks
SINGLES = 2  # this few stragglers are asked for singly before another page is turned
MOST_SINGLES = 20  # a look costs no more reads than this, even if the list is out of order
TROUBLE_SECONDS = 1.0

log = structlog.get_logger(__name__)


@dataclass
class _Watched:
    on_end: Callable[[Prediction], None]
    model: str
    began: float
    look_at: float
    pace: float


class Watcher:
    """Sees predictions end.

    Args:
        api: the account's API.
    """

    def __init__(self, api: ReplicateAPI) -> None:
        self._api = api
        self._watched: dict[str, _Watched] = {}
        self._usual_seconds: dict[str, float] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking; predictions go on."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(SLOWEST_LOOK_SECONDS)

    def watch(
        self, prediction: Prediction | str, model: str, typical_seconds: float, on_end: Callable[[Prediction], None]
    ) -> None:
        """Call `on_end` once, from the watcher's thread, when the prediction is over.

        Args:
            prediction: it, or its id.
            model: its model, whose usual time is learned from what ends.
            typical_seconds: the model's usual time, as long as none has been seen.
            on_end: must return quickly.
        """
        if isinstance(prediction, Prediction) and prediction.is_over:
            on_end(prediction)
            return
        prediction_id = prediction if isinstance(prediction, str) else prediction.id
        usual = self._usual_seconds.get(model, typical_seconds)
        pace = min(max(PACE * usual, FASTEST_LOOK_SECONDS), SLOWEST_LOOK_SECONDS)
        now = time.monotonic()
        # One whose beginning nobody here saw may be over already.
        first_look = now + (min(pace, FASTEST_LOOK_SECONDS) if isinstance(prediction, str) else pace)
        with self._changed:
            self._watched[prediction_id] = _Watched(on_end, model, now, first_look, pace)
            self._changed.notify()

    def forget(self, prediction_id: str) -> None:
        """Stop watching one prediction; its `on_end` will not be called, unless that has begun."""
        with self._changed:
            self._watched.pop(prediction_id, None)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._stopping and (wait := self._until_next_look()) != 0:
                    self._changed.wait(wait)
                if self._stopping:
                    return
            try:
                self._look()
            except Throttled as error:
                self._pause(error.retry_after_seconds or TROUBLE_SECONDS, error)
            except TokenRefused as error:
                self._pause(SLOWEST_LOOK_SECONDS, error)
            except Exception as error:  # noqa: BLE001  # nobody would see predictions end if this thread died
                self._pause(TROUBLE_SECONDS, error)

    def _until_next_look(self) -> float | None:
        if not self._watched:
            return None
        return max(0.0, min(item.look_at for item in self._watched.values()) - time.monotonic())

    def _pause(self, seconds: float, error: Exception) -> None:
        log.warning("could not look after predictions", error=str(error), again_in_seconds=seconds)
        with self._changed:
            if not self._stopping:
                self._changed.wait(seconds)

    def _look(self) -> None:
        """One look at all that are due: pages of the list while that is cheaper than asking singly."""
        now = time.monotonic()
        due = {key for key, item in self._watched.copy().items() if item.look_at <= now}
        horizon = len(self._watched)
        if horizon > SINGLES:
            try:
                self._look_through_list(due, 2 * horizon + 100)
            except Throttled:
                raise
            except AttemptFailure as error:
                log.warning("could not list predictions", error=str(error))
        for prediction_id in list(due)[:MOST_SINGLES]:
            try:
                self._seen(self._api.get(prediction_id))
            except Throttled:
                raise
            except AttemptFailure as error:
                log.warning("could not read a prediction", prediction_id=prediction_id, error=str(error))
                self._look_later(prediction_id)

    def _look_through_list(self, due: set[str], most_rows: int) -> None:
        """Turn pages until nearly all of `due` were on one; takes those out of `due`."""
        rows = 0
        for page in self._api.newest():
            rows += len(page)
            for prediction in page:
                due.discard(prediction.id)
                self._seen(prediction)
            if len(due) <= SINGLES or rows >= most_rows:
                return

    def _seen(self, prediction: Prediction) -> None:
        if not prediction.is_over:
            self._look_later(prediction.id)
            return
        with self._changed:
            item = self._watched.pop(prediction.id, None)
        if item is None:
            return
        if prediction.status == "succeeded":
            took = time.monotonic() - item.began
            self._usual_seconds[item.model] = 0.7 * self._usual_seconds.get(item.model, took) + 0.3 * took
        item.on_end(prediction)

    def _look_later(self, prediction_id: str) -> None:
        with self._changed:
            if item := self._watched.get(prediction_id):
                item.look_at = time.monotonic() + item.pace
