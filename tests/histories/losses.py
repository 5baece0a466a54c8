"""What becomes of the limiter when its state is lost, or is an older copy's."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from redis import Redis

from replibatch.limits.limiter import CLAIM_SECONDS
from replibatch.limits.tickets import Row, Standing
from tests.histories.books import SLOT_SECONDS, WINDOW, Out, Seen
from tests.histories.machine import Machine
from tests.histories.state import State

DEAD = st.sampled_from([None, None, 1, 2])  # the number of a process that died at the same time


@dataclass(frozen=True)
class Copy:
    """What a replica has: all there was when its link broke."""

    keys: dict[bytes, bytes]
    beats: dict[str, float]
    reports: dict[str, dict[str, int]]
    shared_cap: int | None
    shared_settled: int
    outages: dict[str, Out]


class LossyMachine(Machine):
    """Day to day, and the days Redis fails. Subclasses give `raw`, a client that decodes nothing."""

    raw: Redis
    copy: Copy | None = None

    @rule()
    def the_replica_falls_behind(self) -> None:
        keys = {key: self.raw.dump(key) for key in self.raw.scan_iter()}
        books = self.books
        self.copy = Copy(
            keys,
            dict(books.beats),
            dict(books.reports),
            books.shared_cap,
            books.shared_settled,
            deepcopy(books.outages),
        )

    @rule(lags=st.booleans())
    def the_server_restarts(self, lags: bool) -> None:
        self.everybody_beats()
        self.redis.hset(self.limiter.prefix + "limits", "epoch", "run of another server")
        for attempt in self.books.having("granted"):
            seen = self.books.attempts[attempt]
            assert self.limiters[seen.process].claim([seen.ticket])[0] != [Standing.CLAIMED], (
                "not before it is trusted"
            )
        self.come_back(None, False, self.books.beats, self.books.reports, lags=lags)

    @rule(dead=DEAD, listed=st.booleans())
    def all_is_lost(self, dead: int | None, listed: bool, lags: bool = False) -> None:
        self.everybody_beats()
        self.redis.flushdb()
        self.books.shared_cap, self.books.shared_settled = None, 0  # with the batch it is of
        self.books.outages = {}
        self.come_back(dead, listed, {}, {}, lags=lags)

    @precondition(lambda self: self.copy)
    @rule(dead=DEAD, listed=st.booleans())
    def the_replica_takes_over(self, dead: int | None, listed: bool) -> None:
        assert self.copy
        self.tick(self.books.now - self.clock + 0.01)
        self.everybody_beats()
        self.redis.flushdb()
        for key, value in self.copy.keys.items():
            self.raw.restore(key, 0, value)
        self.redis.hset(self.limiter.prefix + "limits", "epoch", "run of another server")
        self.books.shared_cap, self.books.shared_settled = self.copy.shared_cap, self.copy.shared_settled
        self.books.outages = deepcopy(self.copy.outages)
        self.come_back(dead, listed, self.copy.beats, self.copy.reports)

    def come_back(
        self,
        dead: int | None,
        listed: bool,
        beats: dict[str, float],
        reports: dict[str, dict[str, int]],
        *,
        lags: bool = False,
    ) -> None:
        """Every process reports, the account's list tells the rest.

        Args:
            dead: who does not report, as it died.
            listed: whether creates whose answer is under way are in the list already.
            lags: whether the list shows nothing yet of what was created within a window.
            beats: what the server knows of processes' lives, `reports` of the limits they were given.
        """
        self.tick(self.books.now - self.clock)
        attempts = self.books.attempts
        for limiter in self.limiters.values():
            for ticket in [ticket for ticket, _ in limiter.holdings.held() if ticket.attempt_key not in attempts]:
                limiter.holdings.let_go(ticket)  # past its hard deadline
        runs = {attempts[attempt].prediction: 20.0 for attempt in self.books.having("created")}
        runs |= {prediction: self.books.now - at for at, prediction in self.books.answers if prediction in runs}
        if listed:
            runs |= {attempts[attempt].prediction: 0.1 for attempt in self.books.having("claimed")}
        over = {p: self.books.now - at for at, p in self.books.answers if p and p not in runs}
        rows = [Row(p, True, age) for p, age in runs.items()] + [Row(p, False, age) for p, age in over.items()]
        if lags:
            rows = [row for row in rows if row.age_seconds >= WINDOW]
            runs = {row.id: row.age_seconds for row in rows if row.runs}
        if dead:
            self.processes[dead] += "'s heir"
            self.limiters[self.processes[dead]] = self.open_limiter(self.processes[dead])
        self.books.beats = dict(beats)
        self.books.reports = {**reports, **{name: self.books.reports.get(name, {}) for name in self.processes}}
        self.compare_with_the_copy()
        self.say_what_they_hold(rows)
        self.everybody_beats()
        self.trust_again(rows, runs)
        self.look()

    def compare_with_the_copy(self) -> None:
        """Whom a dead process has left what; what was given back, in the meantime, in an older copy's eyes."""
        attempts, state = self.books.attempts, State.read(self.redis, self.limiter.prefix)
        for attempt in [attempt for attempt, seen in attempts.items() if seen.process not in self.processes]:
            del attempts[attempt]
        for attempt in state.tickets.keys() & attempts.keys():
            seen = attempts[attempt]  # its earlier owner has given its place back
            seen.place_lost = seen.place_lost or state.ticket_of(attempt)[1] != seen.process
        for attempt in state.slots.keys() - attempts.keys():
            ticket, process = state.ticket_of(attempt)
            if process not in self.processes:
                seen = Seen(ticket, process, 0, state.where(attempt), place_lost=True)
                seen.claimed_at = state.slots[attempt] / 1000 - SLOT_SECONDS
                seen.granted_at = state.granted.get(attempt, 0.0) / 1000 - CLAIM_SECONDS
                attempts[attempt] = seen

    def say_what_they_hold(self, rows: list[Row]) -> None:
        attempts = self.books.attempts
        for name in self.processes:
            self.books.heard_of(name)
            beat = self.limiters[name].heartbeat(self.books.reports.get(name, {}))
            assert beat.must_report and not beat.snapshot
        for seen in attempts.values():
            seen.place_lost = seen.place_lost or seen.state in ("claimed", "created")
            if seen.state == "granted" and seen.process in self.processes:
                seen.state = "waiting"
        for name in self.processes:
            limiter = self.limiters[name]
            waiting = [attempt for attempt in self.books.having("waiting") if attempts[attempt].process == name]
            late = name == self.processes[-1]  # it has not been told anything for longer
            snapshots = self.earlier_snapshots if late else self.snapshots
            for _ in range(2):
                limiter.report(snapshots.get(name, ""), waiting)
            if name == self.processes[0]:
                wait, _ = limiter.rebuild(rows)
                assert wait is not None, "the others are waited for"
        for attempt in sorted(self.books.having("waiting"), key=lambda attempt: attempts[attempt].arrival):
            seen = attempts[attempt]
            standing, _ = self.limiters[seen.process].acquire(seen.ticket)
            if standing in (Standing.STOPPED, Standing.UNAFFORDABLE):
                del attempts[attempt]
            elif standing in (
                Standing.UNSETTLED,
                Standing.CREATED,
            ):  # in the eyes of an earlier owner, or of its copy
                seen.state = "claimed" if standing == Standing.UNSETTLED else "created"
                seen.claimed_at, seen.place_lost = self.books.now - SLOT_SECONDS, True
            else:
                assert standing == Standing.WAITING, "nothing is granted before the state is trusted"

    def trust_again(self, rows: list[Row], runs: dict[str, float]) -> None:
        attempts = self.books.attempts
        wait, orphans = self.limiter.rebuild(rows)
        while wait is not None:
            assert wait <= 1.0
            self.tick(wait)
            self.everybody_beats()
            wait, orphans = self.limiter.rebuild(rows)
        known = {seen.prediction for seen in attempts.values() if seen.state == "created"}
        assert set(orphans) == runs.keys() - known
        assert self.limiter.rebuild([*rows, Row("an orphan", True, 0.5)]) == (None, []), "a trusted state stays"
        self.limiter.report("", [])  # and so it does here
        for prediction in orphans:
            ticket = self.limiter.orphan(prediction)
            seen = Seen(ticket, self.limiter.process, 0, "created", claimed_at=self.books.now - runs[prediction])
            attempts[ticket.attempt_key] = seen
