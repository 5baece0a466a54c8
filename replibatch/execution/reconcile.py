"""The reconciler: finds the predictions of creates with lost replies, before anything is paid for again.

One thread a process goes through the account's list for all lost creates at once, and accounts for every row of
their time. A row that is equal to a create is its prediction. An unequal one proves nothing: Replicate does not
promise that rows show a request as it was sent. So a create is absent only when every row of its time is claimed by
another attempt, or shows another prompt or seed. One row that is left, with one create that can be it, is its
prediction. In any other case the create is held, listed in `status`, and settled by a person (`replibatch settle`),
or by later rows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from replibatch.errors import NoList, NotThere, ReplibatchError
from replibatch.execution.echoes import Echo, Echoes, Likeness, Sent
from replibatch.jobs import Record
from replibatch.jobs.unknown import NOT_CREATED, Unknown, UnknownCreates
from replibatch.limits import Ticket
from replibatch.redisdb.loop import Loop
from replibatch.replicate_api import Prediction, ReplicateAPI
from replibatch.replicate_api.calls import PATIENT_SECONDS

POLLS_AT_LEAST = 3
LAST_POLL_SECONDS = 1.0  # a poll that takes longer is not waited for
CLOCK_SLACK = timedelta(minutes=5)  # the list's clock is Replicate's
LATE_SLACK = timedelta(minutes=1)  # after the settle time; rows of later creates are left out
SINGLES = 20  # rows read singly in one poll: an answer to one may show more than the list does
UNANSWERED_SECONDS = 20.0  # the longest that another create may be without its answer

log = structlog.get_logger(__name__)


class Claims(Protocol):
    """What the records know of predictions and of their owners' wishes."""

    def claim(self, record: Record, ticket: Ticket, prediction_id: str) -> str:
        """Make a prediction an attempt's; the answer is that of `Jobs.created_step`."""

    def claimed(self, predictions: Sequence[str]) -> dict[str, str]:
        """The attempts that predictions belong to, by the prediction's id."""

    def to_cancel(self) -> set[str]:
        """The generations of this process that their owners want canceled."""

    def unanswered_elsewhere(self, own: set[str], older_than_seconds: float) -> int:
        """How many other creates of the fleet have been without an answer for so long."""


@dataclass(eq=False)
class Lost:
    """A create with a lost reply.

    Attributes:
        record: the generation's.
        ticket: the attempt's.
        sent: the create, as far as it is known.
        sent_at: no later than when it was sent, on the monotonic clock; None for a moment ago.
        is_open: False once its fate is known.
        found: its prediction, claimed for the attempt; None where it surely was not created.
    """

    record: Record
    ticket: Ticket
    sent: Sent
    sent_at: float | None = None
    is_open: bool = True
    found: Prediction | None = None


@dataclass(eq=False)
class _Search:
    lost: Lost
    tell: Callable[[], object]
    began: float
    after: datetime
    before: datetime
    polls: int = 0
    singles: dict[str, Prediction | None] = field(default_factory=dict)  # read one by one; None: not there
    held_for: tuple[str, tuple[str, ...]] | None = None

    @property
    def key(self) -> str:
        return self.lost.ticket.attempt_key

    def covers(self, row: Prediction) -> bool:
        """Whether a row may be of this create by its source and time."""
        at = row.created_at
        return row.source != "web" and (at is None or self.after <= at <= self.before)


class Reconciler:
    """Searches the account's list for lost creates.

    Args:
        api: the account's API.
        claims: the records.
        echoes: how rows are known to show requests.
        unknown: where creates are listed that nothing proves.
        settle_seconds: how long a create may take to show up.
    """

    def __init__(
        self, api: ReplicateAPI, claims: Claims, echoes: Echoes, unknown: UnknownCreates, settle_seconds: float
    ) -> None:
        self._api = api
        self._claims = claims
        self._echoes = echoes
        self._unknown = unknown
        self._settle_seconds = settle_seconds
        self._pause_seconds = min(2.0, settle_seconds / (POLLS_AT_LEAST + 1))
        self._unanswered_seconds = min(UNANSWERED_SECONDS, settle_seconds)
        self._first_seen: dict[str, float] = {}  # rows without an owner
        self._searches: dict[str, _Search] = {}
        self._lock = threading.Lock()
        self._submitted = threading.Event()
        self._loop = Loop("reconcile", self._step, wake=self._submitted.set, away_seconds=self._pause_seconds)

    def start(self) -> None:
        """Begin to search."""
        self._loop.start()

    def stop(self) -> None:
        """Stop searching; leave open searches to the process that takes over."""
        self._loop.stop(LAST_POLL_SECONDS)

    def submit(self, lost: Lost, tell: Callable[[], object]) -> None:
        """Search for a lost create.

        A later search for the same attempt takes the place of an earlier one, as its owner has lost custody since.

        Args:
            lost: the create; it holds the outcome once there is one.
            tell: called then, from the reconciler's thread.
        """
        now = time.monotonic()
        sent_at = self._api.now() - timedelta(seconds=0.0 if lost.sent_at is None else now - lost.sent_at)
        until = sent_at + timedelta(seconds=self._settle_seconds) + LATE_SLACK
        search = _Search(lost, tell, now if lost.sent_at is None else lost.sent_at, sent_at - CLOCK_SLACK, until)
        with self._lock:
            self._searches[search.key] = search
            self._submitted.set()

    def _step(self) -> float | None:
        self._submitted.wait()
        with self._lock:
            searches = list(self._searches.values())
            if not searches:
                self._submitted.clear()
        if searches and not self._loop.stopping:
            try:
                self._follow_verdicts(searches)
                self._poll([search for search in searches if search.lost.is_open])
            except NoList as error:
                for search in searches:
                    self._hold(search, (), f"{error}")
            except ReplibatchError as error:  # nothing is paid for again meanwhile
                log.warning("could not search for lost creates", error=str(error), waiting=len(searches))
        return self._pause_seconds

    def _follow_verdicts(self, searches: Iterable[_Search]) -> None:
        """Act on what a person has said of held creates."""
        held = [search for search in searches if search.held_for is not None]
        verdicts = self._unknown.verdicts() if held else {}
        for search in held:
            verdict = verdicts.get(search.lost.record.id)
            if verdict == NOT_CREATED:
                self._close(search, None)
            elif verdict:
                try:
                    if not self._claim(search, self._api.get(verdict)):
                        self._hold(search, (), f"the prediction {verdict} belongs to another attempt")
                except NotThere:
                    self._hold(search, (), f"Replicate has no prediction {verdict}")

    def _poll(self, searches: list[_Search]) -> None:
        if not searches:
            return
        began = time.monotonic()
        rows = self._rows(searches)
        echoes = self._echoes.all()
        holders = self._claims.claimed([row.id for row in rows])
        unclaimed = self._unclaimed(rows, holders)
        for search in searches:
            search.polls += 1
            own = [row for row in rows if holders.get(row.id) == search.key]  # claimed as custody was lost
            if own and self._claim(search, own[0]):
                continue
            for row in unclaimed:
                if self._likeness(search, row, echoes) == Likeness.EQUAL and self._claim(search, row):
                    unclaimed.remove(row)
                    break
        for search in [each for each in searches if each.lost.is_open]:
            if began - search.began < self._settle_seconds or search.polls < POLLS_AT_LEAST:
                continue
            self._account(search, searches, unclaimed, echoes, began)

    def _account(
        self,
        search: _Search,
        searches: list[_Search],
        unclaimed: list[Prediction],
        echoes: dict[str, Echo],
        now: float,
    ) -> None:
        """Decide about a create that no row is equal to, by the rows that are left."""
        left = [row for row in unclaimed if search.covers(row) and self._likeness(search, row, echoes)]
        if not left:
            self._close(search, None)
            return
        if any(now - self._first_seen[row.id] < self._unanswered_seconds for row in left):
            return  # a row may be of a create that is still waiting for its answer
        left = self._read_singly(search, left, echoes)
        if not left:
            self._close(search, None)
            return
        best = max(self._likeness(search, row, echoes) for row in left)
        picks = [row for row in left if self._likeness(search, row, echoes) == best]
        rivals = [
            other
            for other in searches
            if other.lost.is_open
            and other is not search
            and any(other.covers(row) and self._likeness(other, row, echoes) >= best for row in picks)
        ]
        twins = [other for other in rivals if other.lost.sent.fingerprint == search.lost.sent.fingerprint]
        elsewhere = self._claims.unanswered_elsewhere(set(self._searches), self._unanswered_seconds)
        is_sure = len(rivals) == len(twins) and (best >= Likeness.LIKELY or not elsewhere)
        if is_sure and len(picks) <= 1 + len(twins) and self._claim(search, picks[0]):
            unclaimed.remove(picks[0])
            return
        if search.lost.record.id in self._claims.to_cancel() and all(row.is_over for row in left):
            self._close(search, None)  # its owner has canceled: nothing is made in its place, and nothing runs
            return
        others = f", and {len(rivals) + elsewhere} other creates without an answer" if rivals or elsewhere else ""
        self._hold(search, [row.id for row in picks], f"it may be any of {len(left)} predictions{others}")

    def _rows(self, searches: Sequence[_Search]) -> list[Prediction]:
        after, before = min(each.after for each in searches), max(each.before for each in searches)
        bound = before if before < self._api.now() else None
        rows: dict[str, Prediction] = {}
        for page in self._api.newest(created_after=after, created_before=bound, page_seconds=PATIENT_SECONDS):
            rows |= {row.id: row for row in page if row.source != "web"}
        return list(rows.values())

    def _unclaimed(self, rows: Sequence[Prediction], holders: Mapping[str, str]) -> list[Prediction]:
        unclaimed = [row for row in rows if row.id not in holders]
        now = time.monotonic()
        self._first_seen = {row.id: self._first_seen.get(row.id, now) for row in unclaimed}
        return unclaimed

    def _likeness(self, search: _Search, row: Prediction, echoes: dict[str, Echo]) -> Likeness:
        if not search.covers(row):
            return Likeness.OTHER
        sent = search.lost.sent
        own = echoes.get(sent.name, Echo())
        others = echoes.keys() - own.names - {sent.name}
        single = search.singles.get(row.id)
        found = sent.likeness(row, own, others)
        if single is not None and found != Likeness.EQUAL:
            alone = sent.likeness(single, own, others)
            found = Likeness.OTHER if Likeness.OTHER in (alone, found) else max(alone, found)
        return found

    def _read_singly(self, search: _Search, rows: list[Prediction], echoes: dict[str, Echo]) -> list[Prediction]:
        """Rows that are still possible once each was read by itself, at most so many in one poll."""
        for row in [row for row in rows if row.id not in search.singles][:SINGLES]:
            try:
                search.singles[row.id] = self._api.get(row.id)
            except NotThere:
                search.singles[row.id] = None
        return [row for row in rows if self._likeness(search, row, echoes)]

    def _claim(self, search: _Search, row: Prediction) -> bool:
        if self._claims.claim(search.lost.record, search.lost.ticket, row.id) not in ("ok", "gone"):
            return False
        self._echoes.learn(search.lost.sent, row)
        self._close(search, row)
        return True

    def _close(self, search: _Search, found: Prediction | None) -> None:
        with self._lock:
            if self._searches.get(search.key) is search:
                del self._searches[search.key]
        self._unknown.forget(search.lost.record.id)  # another process may have listed it
        search.lost.found, search.lost.is_open = found, False
        search.tell()

    def _hold(self, search: _Search, candidates: Sequence[str], why: str) -> None:
        """List a create that nothing proves, as long as nothing does."""
        if time.monotonic() - search.began < self._settle_seconds or search.held_for == (why, tuple(candidates)):
            return
        record, since = search.lost.record, time.time() - (time.monotonic() - search.began)
        search.held_for = why, tuple(candidates)
        unknown = Unknown(record.id, record.model, since, tuple(candidates), why)
        self._unknown.note(unknown)
        log.warning("a lost create is held", generation=record.id, why=why, to_settle=unknown.to_settle)
