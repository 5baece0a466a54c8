"""The gatekeeper: waits at the gate for a whole process, on one blocking connection.

Two threads: one listens for hand-offs and wakes the waiter concerned; one keeps the heartbeat and asks again when
time alone may have freed something. The heartbeat also repairs what a lost message left behind.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import RedisError

from replibatch.limits.gate import Gate, Standing, Ticket

LISTEN_SECONDS = 5.0
SLOWEST_BEAT_SECONDS = 2.0
REDIS_AWAY_SECONDS = 0.5

log = structlog.get_logger(__name__)


class _Waiter:
    """One thread waiting at the gate, and the news for it."""

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.news = threading.Event()
        self.standing = Standing.WAITING

    def tell(self, standing: Standing) -> None:
        self.standing = standing
        self.news.set()


class Gatekeeper:
    """The waiting room of one process, and its heartbeat.

    Args:
        gate: the account's gate.
        listener: a Redis client whose sockets outlast a blocking read of `LISTEN_SECONDS`.
        lease_seconds: a process silent for this long is taken for dead.
        report: called at each heartbeat; what the process says of itself, explicit limits included.

    Attributes:
        beat_seconds: between two heartbeats.
        max_concurrent: the concurrency limit in force at the last of them.
    """

    def __init__(
        self,
        gate: Gate,
        listener: Redis,
        lease_seconds: float,
        report: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self._gate = gate
        self._listener = listener
        self._lease_seconds = lease_seconds
        self.beat_seconds = min(lease_seconds / 4, SLOWEST_BEAT_SECONDS)
        self._report = report
        self._waiters: dict[str, _Waiter] = {}
        self._lock = threading.Lock()
        self._clock = threading.Condition()
        self._ask_at: float | None = None
        self._last_beat = float("-inf")
        self._steady_since = float("inf")
        self.max_concurrent = 0
        self._stopping = threading.Event()
        self._draining = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Say hello to the account and begin to listen."""
        self._beat()
        for name, run in (("gate-listener", self._listen), ("gate-heartbeat", self._keep_time)):
            thread = threading.Thread(target=run, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Take leave of the account."""
        self._stopping.set()
        with self._clock:
            self._clock.notify()
        try:
            self._gate.redis.rpush(self._gate.wake_key, "")  # ends the listener's blocking read
            for thread in self._threads:
                thread.join(LISTEN_SECONDS + 1)
            self._gate.heartbeat({}, leaving=True)
            self._gate.redis.delete(self._gate.wake_key)
        except RedisError as error:
            log.warning("could not take leave; the lease will lapse", error=str(error))

    def drain(self) -> None:
        """Send every waiter away, now and from now on, with `Standing.WITHDRAWN`."""
        self._draining.set()
        with self._lock:
            waiters = list(self._waiters.values())
        for waiter in waiters:
            waiter.tell(Standing.WITHDRAWN)

    @property
    def draining(self) -> bool:
        """Whether the process is on its way out."""
        return self._draining.is_set()

    @property
    def is_fresh(self) -> bool:
        """Whether the last confirmed heartbeat is younger than a lease: only then may a POST be sent."""
        return time.monotonic() - self._last_beat < self._lease_seconds

    @property
    def is_steady(self) -> bool:
        """Whether heartbeats have arrived for a full lease without a gap: only then may others be called dead."""
        return self.is_fresh and time.monotonic() - self._steady_since >= self._lease_seconds

    def acquire(self, ticket: Ticket) -> Standing:
        """Wait until the attempt may create its prediction, or never will.

        Returns:
            `CLAIMED`, `CREATED`, `UNSETTLED`, `STOPPED`, `UNAFFORDABLE`, `FENCED` or `WITHDRAWN`.
        """
        waiter = _Waiter(ticket)
        with self._lock:
            self._waiters[ticket.attempt] = waiter
        try:
            standing, again = self._gate.acquire(ticket)
            while standing in (Standing.WAITING, Standing.UNKNOWN):
                if self._draining.is_set():
                    return Standing.WITHDRAWN
                self._ask_again(again)
                waiter.news.wait()
                waiter.news.clear()
                standing = waiter.standing
                if standing == Standing.GRANTED:
                    standing, again = self._gate.claim(ticket)
                if standing == Standing.UNKNOWN:
                    standing, again = self._gate.acquire(ticket)
            return standing
        finally:
            with self._lock:
                self._waiters.pop(ticket.attempt, None)

    def _ask_again(self, seconds: float | None) -> None:
        if seconds is None:
            return
        moment = time.monotonic() + seconds
        with self._clock:
            if self._ask_at is None or moment < self._ask_at:
                self._ask_at = moment
                self._clock.notify()

    def _listen(self) -> None:
        while not self._stopping.is_set():
            try:
                message = self._listener.blpop([self._gate.wake_key], timeout=LISTEN_SECONDS)
            except RedisError as error:
                log.warning("redis is away", error=str(error))
                self._stopping.wait(REDIS_AWAY_SECONDS)
                continue
            if message and message[1]:
                news, _, attempt = str(message[1]).partition("\t")
                self._tell(attempt, Standing(news))

    def _tell(self, attempt: str, standing: Standing) -> None:
        with self._lock:
            waiter = self._waiters.get(attempt)
        if waiter:
            waiter.tell(standing)

    def _keep_time(self) -> None:
        next_beat = time.monotonic() + self.beat_seconds
        while not self._stopping.is_set():
            with self._clock:
                wake_at = min(next_beat, self._ask_at or next_beat)
                self._clock.wait(max(0.0, wake_at - time.monotonic()))
                now = time.monotonic()
                asked = self._ask_at is not None and now >= self._ask_at
                if asked:
                    self._ask_at = None
            try:
                if now >= next_beat:
                    next_beat = now + self.beat_seconds
                    self._beat()
                elif asked and self._waiters:
                    self._ask_again(self._gate.pump())
            except RedisError as error:
                log.warning("redis is away", error=str(error))

    def _beat(self) -> None:
        began = time.monotonic()
        known, unclaimed, again, self.max_concurrent = self._gate.heartbeat(self._report())
        if began - self._last_beat > self._lease_seconds:
            self._steady_since = began
        self._last_beat = began
        if self._waiters:
            self._ask_again(again)
        if not known:
            # The account has forgotten this process (a long silence, or lost data): its waiters line up anew.
            with self._lock:
                unclaimed = list(self._waiters)
            for attempt in unclaimed:
                self._tell(attempt, Standing.UNKNOWN)
        else:
            for attempt in unclaimed:
                self._tell(attempt, Standing.GRANTED)
