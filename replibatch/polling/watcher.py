"""The watcher: one thread a process that sees every prediction of the process end.

It polls when a poll is worth a read: when predictions that have ended unseen have lost enough seconds, by what it has
learned of the models' durations. A poll is one page of the account's list, 100 predictions, at the place where most
time is lost; it asks singly only for predictions that the list does not show. So the ends of a model cost about the
same number of reads, however many predictions run and however many processes watch them: processes share their polls.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from replibatch.errors import AccountStopped, ApiUnreachable, AttemptFailure, NoList, ReplibatchError, Throttled
from replibatch.polling.durations import Durations
from replibatch.polling.pace import SHORTEST_PAUSE_SECONDS, seconds_until_worth_a_poll
from replibatch.polling.peers import NoPeers, Peers
from replibatch.polling.watched import NEARLY, PAGE_ROWS, Watched, best_page, best_single
from replibatch.redisdb.loop import Loop
from replibatch.replicate_api.calls import ReplicateAPI
from replibatch.replicate_api.predictions import Prediction

READS_PER_SECOND = 50.0  # what Replicate allows an account
READS_SHARE = 0.7  # of those, for watching
BURST_SECONDS = 0.5  # what a process has not read for so long it may read at once
RARE_READ_SECONDS = 5.0  # a lone prediction of a model that takes longer is asked for singly: a list can be large
SINGLES = 2  # this few of unknown age are asked for singly before a page is turned
MOST_SINGLES = 20  # in a row, before the others are polled again
TROUBLE_SECONDS = 1.0  # until what could not be read is tried again; without the list, all are asked for singly
STOPPED_SECONDS = 2.0
MOST_UNANSWERED = 3  # reads in one poll
NO_LIST_SECONDS = 60.0  # until a server without a list is asked for it again
LAST_POLL_SECONDS = 1.0  # a poll that takes longer is not waited for
ELSEWHERE_SECONDS = 0.25  # what another process is about to read is waited for so long
TICK = timedelta(milliseconds=10)  # `created_before` is turned up by this, lest rounding hides a row

log = structlog.get_logger(__name__)


class Watcher:
    """Sees predictions end.

    Args:
        api: the account's API.
        reads_per_second: how many the account allows, over all processes.
        on_ends: called with all that one poll has seen end, before `on_end` is called for each.
        peers: the watchers of other processes that share the account.
    """

    def __init__(
        self,
        api: ReplicateAPI,
        reads_per_second: float = READS_PER_SECOND,
        on_ends: Callable[[Sequence[Prediction]], None] = lambda _: None,
        peers: Peers | None = None,
    ) -> None:
        self._api = api
        self._on_ends = on_ends
        self._peers = peers or NoPeers()
        self._reads_per_second = READS_SHARE * reads_per_second
        self._watched: dict[str, Watched] = {}
        self._durations: dict[str, Durations] = {}
        self._page_seconds = float("inf")
        self._list_again_at = 0.0
        self._wake_at = 0.0
        self.trouble: ApiUnreachable | None = None
        self.read_at = time.monotonic()
        self._elsewhere_until = float("-inf")  # another process polls the due predictions
        self._reads_until = float("-inf")  # the process's share of the reads is used up until then
        self._changed = threading.Condition()
        self._loop = Loop("watcher", self._step, wake=self._look_up, away_seconds=TROUBLE_SECONDS)

    @property
    def is_watching(self) -> bool:
        """Whether it still awaits the end of a prediction."""
        return bool(self._watched)

    def start(self) -> None:
        """Begin to poll."""
        self._loop.start()

    def stop(self) -> None:
        """Stop polling; predictions go on."""
        self._loop.stop(LAST_POLL_SECONDS)

    def watch(
        self, prediction: Prediction | str, model: str, typical_seconds: float, on_end: Callable[[Prediction], None]
    ) -> None:
        """Call `on_end` once when the prediction is over: from the watcher's thread, or at once if it is already.

        Args:
            prediction: it, just created; or the id of one that may be of any age.
            model: its model; durations are learned by model.
            typical_seconds: the model's usual time, as long as none has been seen.
            on_end: must return quickly. A later `watch` of the same prediction takes its place.
        """
        if isinstance(prediction, Prediction) and prediction.is_over:
            on_end(prediction)
            return
        now = time.monotonic()
        with self._changed:
            durations = self._durations.get(model)
            if durations is None:
                durations = self._durations[model] = Durations(typical_seconds)
            if isinstance(prediction, str):
                item, poll_at = Watched(prediction, on_end, durations, now), now
            else:
                created_at = prediction.created_at.timestamp() if prediction.created_at else None
                item = Watched(prediction.id, on_end, durations, now, now, created_at, listed=created_at is not None)
                poll_at = now + durations.first_poll_seconds
            self._watched[item.id] = item
            if poll_at < self._wake_at or len(self._watched) == 1:
                self._changed.notify()

    def forget(self, prediction_id: str) -> None:
        """Stop watching one prediction; its `on_end` will not be called, unless that has begun."""
        with self._changed:
            self._watched.pop(prediction_id, None)

    def hear(
        self,
        running: Collection[str],
        over: Collection[str],
        began: float,
        rows_of: Callable[[Sequence[str]], Sequence[Prediction]],
    ) -> None:
        """Take in the rows that another process has read.

        Args:
            running: ids of predictions that were not over.
            over: of those that were.
            began: when that was read, on the monotonic clock.
            rows_of: gives such of the latter as the other has passed on.
        """
        with self._changed:
            for item in [self._watched[one] for one in running if one in self._watched]:
                self._seen_running(item, began)
            mine = [one for one in over if one in self._watched]
            if self._elsewhere_until > time.monotonic():
                self._elsewhere_until = float("-inf")
                self._changed.notify()
        if mine:
            rows = rows_of(mine)
            with self._changed:
                for missing in self._watched.keys() & set(mine) - {row.id for row in rows}:
                    self._watched[missing].began = None  # it is over, and has to be read
                    self._changed.notify()
            self._seen(rows, began)

    def _step(self) -> float:
        """Wait until a poll is worth its read, and make it; returns the seconds in which none more may be made."""
        if not self._wait():
            return 0.0
        began, count = time.monotonic(), max(1, len(self._watched))
        try:
            has_read = self._poll(began)
        except Throttled as error:
            return self._trouble(error, error.retry_after_seconds or TROUBLE_SECONDS)
        except AccountStopped as error:
            return self._trouble(error, STOPPED_SECONDS)
        except ReplibatchError as error:
            return self._trouble(error, TROUBLE_SECONDS)
        # Processes that share the account share its reads, and where reads have to wait all make fewer.
        # Much ends at once: what was not read of late may be read then.
        now = time.monotonic()
        if has_read:
            fair = max(count, self._peers.in_flight) / (count * self._reads_per_second)
            self._reads_until = max(self._reads_until, began - BURST_SECONDS) + fair
        return max(SHORTEST_PAUSE_SECONDS, self._reads_until - now, min(now - began, TROUBLE_SECONDS))

    def _trouble(self, error: ReplibatchError, seconds: float) -> float:
        self._note(error)
        log.warning("could not poll predictions", error=str(error), again_in_seconds=seconds)
        return seconds

    def _look_up(self) -> None:
        with self._changed:
            self._changed.notify()

    def _wait(self) -> bool:
        """Wait until a poll is worth a read; False once it is time to stop."""
        with self._changed:
            while not self._loop.stopping:
                now = time.monotonic()
                wait = self._elsewhere_until - now
                if wait <= 0:
                    wait = seconds_until_worth_a_poll(
                        self._watched.values(), now, self._page_seconds, self._peers.in_flight
                    )
                    if wait <= 0:
                        return True
                self._wake_at = now + wait
                self._changed.wait(min(wait, threading.TIMEOUT_MAX))
            return False

    def _poll(self, now: float) -> bool:
        """The one read, or the few for those of unknown age, that tell most; False if another process makes it."""
        with self._changed:
            items = list(self._watched.values())
        if unknown := [item for item in items if item.began is None and item.not_before <= now]:
            self._find(unknown, now)
        elif items:
            page, single = best_page(items, now, self._page_seconds), best_single(items, now)
            alone = len(page.items) == 1 and len(items) >= self._peers.in_flight
            rare = alone and page.items[0].durations.usual_seconds > RARE_READ_SECONDS
            if rare or page.unseen_seconds < NEARLY * single.unseen_seconds or now < self._list_again_at:
                self._ask_for(single.items, now)
            else:
                return self._turn_to(page.items, now)
        return True

    def _turn_to(self, items: Sequence[Watched], now: float) -> bool:
        """Read the page of the list that begins with the first of `items`; False if another process does."""
        newest = items[0].created_at or 0.0
        part = int(newest / self._page_seconds) if self._page_seconds else 0
        if not self._peers.may_poll(part):
            with self._changed:
                self._elsewhere_until = now + ELSEWHERE_SECONDS
            return False
        rows = self._page(self._api.newest(created_before=datetime.fromtimestamp(newest, UTC) + TICK))
        if rows is None:
            return True
        times = [row.created_at.timestamp() for row in rows if row.created_at]
        if len(rows) == PAGE_ROWS and times:
            self._page_seconds = max(times) - min(times)
        shown, oldest = {row.id for row in rows}, min(times, default=float("inf"))
        for item in items:
            if item.id not in shown and (len(rows) < PAGE_ROWS or (item.created_at or 0.0) > oldest):
                item.listed = False
        self._peers.share(part, rows, now, shown & self._watched.keys())
        self._seen(rows, now)
        return True

    def _find(self, unknown: list[Watched], now: float) -> None:
        """See those of unknown age for the first time: on the list's first pages, or singly."""
        left = {item.id: item for item in unknown}
        if len(left) > SINGLES and now >= self._list_again_at:
            pages = self._api.newest()
            most_rows = 2 * len(self._watched) + PAGE_ROWS
            while len(left) > SINGLES and most_rows > 0 and (rows := self._page(pages)):
                most_rows -= len(rows)
                for row in rows:
                    left.pop(row.id, None)
                self._seen(rows, now)
        self._ask_for(list(left.values())[:MOST_SINGLES], now)

    def _ask_for(self, items: Iterable[Watched], now: float) -> None:
        """Read each singly. One that cannot be read harms its own prediction alone; after several, all must wait."""
        unanswered = 0
        for item in items:
            try:
                self._seen([self._api.get(item.id)], now)
            except Throttled:
                raise
            except AttemptFailure as error:
                log.warning("could not read a prediction", prediction=item.id, error=str(error))
                item.not_before = time.monotonic() + TROUBLE_SECONDS
                self._note(error)
                if isinstance(error, ApiUnreachable):
                    unanswered += 1
                    if unanswered >= MOST_UNANSWERED or error.kind in ("timeout", "host"):
                        raise

    def _page(self, pages: Iterator[list[Prediction]]) -> list[Prediction] | None:
        """The next page; None where there is none, or it could not be read."""
        try:
            return next(pages, None)
        except Throttled:
            raise
        except AttemptFailure as error:
            log.warning("could not list predictions", error=str(error))
            no_list = isinstance(error, NoList)
            self._list_again_at = time.monotonic() + (NO_LIST_SECONDS if no_list else TROUBLE_SECONDS)
            self._note(error)
            return None

    def _note(self, error: ReplibatchError) -> None:
        if isinstance(error, ApiUnreachable):
            self.trouble = error

    def _seen(self, rows: Iterable[Prediction], now: float) -> None:
        """What a read has shown; `now` is when it began."""
        self.trouble, self.read_at = None, time.monotonic()
        ended: list[tuple[Watched, Prediction]] = []
        for prediction in rows:
            item = self._watched.get(prediction.id)
            if item is None:
                continue
            if prediction.is_over:
                ended.append((item, prediction))
                continue
            if item.began is None:
                created = prediction.created_at.timestamp() if prediction.created_at else None
                item.created_at, item.listed = created, created is not None
                item.began = min(item.since, now - (time.time() - created)) if created else item.since
            self._seen_running(item, now)
        if ended:
            self._end(ended)

    def _seen_running(self, item: Watched, now: float) -> None:
        if item.began is not None and now - item.began > item.seen_seconds:
            item.seen_seconds = now - item.began
            item.durations.seen_running(item.seen_seconds, len(self._watched))

    def _end(self, seen: Sequence[tuple[Watched, Prediction]]) -> None:
        with self._changed:  # two reads may show the same end
            ended = [(item, prediction) for item, prediction in seen if self._watched.get(item.id) is item]
            for item, prediction in ended:
                del self._watched[item.id]
                if prediction.status == "succeeded" and prediction.created_at and prediction.completed_at:
                    item.durations.learn((prediction.completed_at - prediction.created_at).total_seconds())
        try:
            self._on_ends([prediction for _, prediction in ended])
        except Exception as error:  # the waiting threads must get the end all the same
            log.exception("unexpected", error=str(error))
        for item, prediction in ended:
            try:
                item.on_end(prediction)
            except Exception as error:  # the others' ends must not wait for it
                log.exception("unexpected", prediction=item.id, error=str(error))
