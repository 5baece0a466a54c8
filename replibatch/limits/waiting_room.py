"""The waiting room: waits at the limiter for a whole process, on one connection.

Two threads: one hears of hand-offs, claims all that have come at once and wakes the waiters concerned (what a call of
this process has handed off is claimed already); one keeps the heartbeat and asks again when time alone may have freed
something. The heartbeat also repairs what a lost message left behind, and has the process say what it holds when the
account's state was lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

import structlog
from redis import Redis
from redis.client import PubSub
from redis.exceptions import RedisError

from replibatch.limits.heartbeat import Heartbeat
from replibatch.limits.limiter import Limiter
from replibatch.limits.tickets import Standing, Ticket
from replibatch.redisdb.loop import Loop
from replibatch.redisdb.subscription import Subscription

LISTEN_SECONDS = 5.0
SLOWEST_BEAT_SECONDS = 0.75  # below REPORT_SECONDS: a state that was lost is rebuilt with everybody's help
MOST_CLAIMS = 100  # in one call

log = structlog.get_logger(__name__)


class _Waiter:
    """One thread waiting at the limiter, and the news for it."""

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.news: SimpleQueue[Standing] = SimpleQueue()  # wakes its reader in one step, where an Event takes two


class WaitingRoom:
    """The waiting room of one process, and its heartbeat.

    Args:
        limiter: the account's limiter.
        listener: a Redis client with a socket timeout above `LISTEN_SECONDS`.
        lease_seconds: a process silent for this long is taken for dead.
        report: called at each heartbeat; the process's own report, explicit limits included.
        recall: called when the account's state was lost, before this process reports; till then none creates.
        recover: called when the account's state was lost and this process has reported; it may be called again while
            it is under way.

    Attributes:
        heartbeat: whether this process is alive to the others.
        beat_seconds: between two heartbeats.
        max_concurrent: the concurrency limit in force at the last heartbeat.
        in_flight: how many slots all processes held at the last heartbeat.
        outages: the names of outages and of recent failures at the last heartbeat.
    """

    def __init__(
        self,
        limiter: Limiter,
        listener: Redis,
        lease_seconds: float,
        report: Callable[[], dict[str, Any]] = dict,
        recover: Callable[[], None] = lambda: None,
        recall: Callable[[], object] = lambda: None,
    ) -> None:
        self._limiter = limiter
        self._lease_seconds = lease_seconds
        self.heartbeat = Heartbeat(lease_seconds)
        self.beat_seconds = min(lease_seconds / 4, SLOWEST_BEAT_SECONDS)
        self._report = report
        self._recover = recover
        self._recall = recall
        self._snapshot = ""
        self._waiters: dict[str, _Waiter] = {}
        self._lock = threading.Lock()
        self._claiming = threading.Lock()
        self._clock = threading.Condition()
        self._ask_at: float | None = None
        self._beat_at = float("-inf")
        self._look_at = float("-inf")
        self.max_concurrent = self.in_flight = 0
        self.outages: frozenset[str] = frozenset()
        self._draining = threading.Event()
        self._subscription = Subscription(listener, limiter.wake_key, limiter.call_key)
        self._reports = 0
        self._loops = [
            Loop("limiter listener", self._listen, wake=self._end_read),
            Loop("limiter heartbeat", self._keep_time, wake=self._look_up, away_seconds=0.0),
        ]

    def start(self) -> None:
        """Say hello to the account and begin to listen."""
        self._beat()
        self._beat_at = time.monotonic() + self.beat_seconds
        for loop in self._loops:
            loop.start()

    def stop(self) -> None:
        """Take leave of the account."""
        for loop in self._loops:
            loop.stop(LISTEN_SECONDS + 1)
        try:
            self._limiter.heartbeat({}, leaving=True)
        except RedisError as error:
            log.warning("could not take leave; the lease will lapse", error=str(error))

    def drain(self) -> None:
        """Send every waiter away, now and from now on, with `Standing.WITHDRAWN`."""
        self._draining.set()
        self._tell_all(Standing.WITHDRAWN)

    @property
    def draining(self) -> bool:
        """Whether the process is on its way out."""
        return self._draining.is_set()

    @property
    def waiting(self) -> int:
        """How many attempts of this process stand at the limiter."""
        return len(self._waiters)

    def acquire(self, ticket: Ticket) -> Standing:
        """Wait until the attempt may create its prediction, or never will.

        Returns:
            `CLAIMED`, `CREATED`, `UNSETTLED`, `STOPPED`, `UNAFFORDABLE`, `OUT`, `FENCED` or `WITHDRAWN`.
        """
        waiter = _Waiter(ticket)
        with self._lock:
            other = self._waiters.get(ticket.attempt_key)
            if other and other.ticket.fence > ticket.fence:
                return Standing.FENCED
            self._waiters[ticket.attempt_key] = waiter
        if other:  # it waits in an earlier custody, and would wait for ever
            other.news.put(Standing.FENCED)
        try:
            standing, again = self._limiter.acquire(ticket)
            while standing in (Standing.WAITING, Standing.UNKNOWN):
                if self._draining.is_set():
                    waiter.news.put(Standing.WITHDRAWN)
                self._ask_again(again)
                standing, again = waiter.news.get(), None
                if standing == Standing.UNKNOWN:
                    standing, again = self._limiter.acquire(ticket)
            if standing == Standing.WITHDRAWN:  # nothing is handed off to who is not there any more
                self._limiter.release(ticket)
            return standing
        finally:
            with self._lock:
                if self._waiters.get(ticket.attempt_key) is waiter:
                    del self._waiters[ticket.attempt_key]

    def withdraw(self, attempt: str) -> None:
        """Send the waiter of an attempt away, if there is one, with `Standing.WITHDRAWN`."""
        with self._claiming, self._lock:  # no claim is under way for it, and none will be made
            if waiter := self._waiters.pop(attempt, None):
                waiter.news.put(Standing.WITHDRAWN)

    def _ask_again(self, seconds: float | None) -> None:
        if seconds is None:
            return
        moment = time.monotonic() + seconds
        with self._clock:
            if self._ask_at is None or moment < self._ask_at:
                self._ask_at = moment
                self._clock.notify()

    def _listen(self) -> float:
        reports = self._limiter.holdings.reports
        if self._reports != reports:  # messages from before a report are void
            self._subscription.close()
            self._reports = reports
        with self._subscription.opened() as channel:
            self._hear(channel, reports)
        if self._loops[0].stopping:
            self._subscription.close()
        return 0.0

    def _end_read(self) -> None:
        with suppress(RedisError):
            self._limiter.redis.publish(self._limiter.wake_key, "")

    def _look_up(self) -> None:
        with self._clock:
            self._clock.notify()

    def _hear(self, channel: PubSub, reports: int) -> None:
        """Wait for a message, and act on it and on all that have come with it."""
        granted: list[str] = []
        wait_seconds = LISTEN_SECONDS
        while len(granted) < MOST_CLAIMS and (message := channel.get_message(timeout=wait_seconds)):
            wait_seconds = 0.0
            news, *about = str(message["data"]).split("\t")
            if news == "report":
                self._beat_now()
            elif news:
                attempt, fence = about
                if not self._tell(attempt, int(fence), Standing(news), reports):
                    granted.append(attempt)
        self._claim(granted)

    def _tell(self, attempt: str, fence: int, standing: Standing, reports: int) -> bool:
        """Give a waiter its news; False for a hand-off that must be claimed first."""
        with self._lock:
            waiter = self._waiters.get(attempt)
        if waiter is None or waiter.ticket.fence != fence:
            return True  # it has left, and gives back what it was handed
        if standing == Standing.GRANTED or (
            standing == Standing.CLAIMED and not self._limiter.holdings.was_claimed(waiter.ticket, reports)
        ):
            return False
        waiter.news.put(standing)
        return True

    def _claim(self, attempts: Iterable[str]) -> None:
        """Claim hand-offs for the waiters they are for, and wake those."""
        with self._claiming:  # two calls for the same waiter would each believe the other's news old
            with self._lock:
                waiters = [self._waiters[attempt] for attempt in attempts if attempt in self._waiters]
            if not waiters:
                return
            standings, again = self._limiter.claim([waiter.ticket for waiter in waiters])
            for waiter, standing in zip(waiters, standings, strict=True):
                if standing != Standing.WAITING:
                    waiter.news.put(standing)
        self._ask_again(again)

    def _tell_all(self, standing: Standing) -> None:
        with self._lock:
            waiters = list(self._waiters.values())
        for waiter in waiters:
            waiter.news.put(standing)

    def _beat_now(self) -> None:
        with self._clock:
            self._beat_at = float("-inf")
            self._clock.notify()

    def _keep_time(self) -> float:
        with self._clock:
            wake_at = self._beat_at if self._ask_at is None else min(self._beat_at, self._ask_at)
            if not self._loops[1].stopping:
                self._clock.wait(max(0.0, wake_at - time.monotonic()))
            now = time.monotonic()
            asked = self._ask_at is not None and now >= self._ask_at
            if asked:
                self._ask_at = None
            beat_due = now >= self._beat_at
            if beat_due:
                self._beat_at = now + self.beat_seconds
        if beat_due:
            self._beat()
        elif asked and self._waiters:
            self._ask_again(self._limiter.pump())
        return 0.0

    def _beat(self) -> None:
        sent_at = time.monotonic()
        beat = self._limiter.heartbeat(self._report())
        self.heartbeat.confirm(sent_at)
        self.max_concurrent, self.in_flight, self.outages = beat.max_concurrent, beat.in_flight, beat.outages
        if self._waiters:
            self._ask_again(beat.again_seconds)
        if beat.must_report:
            log.info("the account's state is being rebuilt")
            self._recall()
            with self._lock:
                waiting = list(self._waiters)
            self._limiter.report(self._snapshot, waiting)
            self._recover()
        else:
            self._snapshot = beat.snapshot
        if beat.must_report or not beat.known:
            # Forgotten, after a long silence or with the state: who waits lines up anew; who has a place keeps it.
            self._tell_all(Standing.UNKNOWN)
        else:
            self._claim(beat.handed)
            self._ask_for_all()

    def _ask_for_all(self) -> None:
        """Once a lease, ask for every waiter: after a lost message one would wait for ever."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + self._lease_seconds
        with self._lock:
            attempts = list(self._waiters)
        for first in range(0, len(attempts), MOST_CLAIMS):
            self._claim(attempts[first : first + MOST_CLAIMS])
