"""What a process remembers of its places at the limiter, so that an account's state that was lost can be rebuilt."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from replibatch.limits.tickets import Standing, Ticket
from replibatch.redisdb.scripts import Step


class Holdings:
    """What one process holds and asks for; any thread may call.

    Attributes:
        reports: how often this process has said what it holds, as the account's state was lost.
    """

    def __init__(self) -> None:
        self.reports = 0
        self._held: dict[str, tuple[Ticket, str]] = {}  # with the prediction, once there is one
        self._asking: set[str] = set()
        self._since_report: list[Step] | None = None  # answers and releases, while a report is under way
        self._lock = threading.Lock()

    @contextmanager
    def asking_for(self, attempts: set[str]) -> Iterator[None]:
        """While asked for, an attempt may be granted already, with the answer under way."""
        with self._lock:
            self._asking |= attempts
        try:
            yield
        finally:
            with self._lock:
                self._asking -= attempts

    def stands(self, ticket: Ticket, standing: Standing, prediction_id: str = "") -> None:
        """Note an attempt's standing; keep it if it holds a place."""
        if standing in (Standing.CLAIMED, Standing.UNSETTLED, Standing.CREATED):
            with self._lock:
                self._held[ticket.attempt_key] = ticket, prediction_id

    def was_claimed(self, ticket: Ticket, reports: int) -> bool:
        """Believe a message that says a hand-off was claimed for its waiter here.

        Args:
            ticket: the waiter's.
            reports: how many there had been when this process began to listen; a message from before the last one may
                tell of a state that was lost since.
        """
        with self._lock:
            if reports == self.reports:
                self._held[ticket.attempt_key] = ticket, ""
            return reports == self.reports

    def created(self, ticket: Ticket, prediction_id: str) -> None:
        """The attempt has a prediction now, unless it was given up here, and is another's."""
        with self._lock:
            if ticket.attempt_key in self._held:
                self._held[ticket.attempt_key] = ticket, prediction_id

    def let_go(self, ticket: Ticket) -> None:
        """The attempt holds no place here any more."""
        with self._lock:
            self._held.pop(ticket.attempt_key, None)

    def note(self, step: Step) -> None:
        """An answer or a release is about to be sent: while a report is under way it may come too early to count."""
        with self._lock:
            if self._since_report is not None:
                self._since_report.append(step)

    def held(self) -> list[tuple[Ticket, str]]:
        """What holds a place, each with its prediction; empty before there is one."""
        with self._lock:
            return list(self._held.values())

    def begin_report(self) -> tuple[list[tuple[Ticket, str]], list[str]]:
        """A report begins: what holds a place, and the attempts that are being asked for."""
        with self._lock:
            self.reports += 1
            self._since_report = []
            return list(self._held.values()), list(self._asking)

    def end_report(self) -> list[Step]:
        """It was made: the answers and releases since it began."""
        with self._lock:
            missed, self._since_report = self._since_report or [], None
            return missed
