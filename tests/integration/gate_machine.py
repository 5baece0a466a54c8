"""Random histories of the gate, checked against books of the tests' own after every call.

The machine plays several processes against the real scripts on a real Redis, with a clock it moves itself. It knows
nothing of the scripts' keys but what it reads to compare: every promise is checked on what *it* saw happen.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from redis import Redis

from replibatch.limits.gate import (
    CLAIM_SECONDS,
    MICRO,
    POST_SECONDS,
    SLOT_MARGIN_SECONDS,
    Gate,
    Row,
    Standing,
    Ticket,
)
from replibatch.scripts import run_together
from replibatch.settings import Settings

LEASE, WINDOW, TIMEOUT = 5.0, 10.0, 30.0
SLOT_SECONDS = POST_SECONDS + TIMEOUT + SLOT_MARGIN_SECONDS
PROCESSES = ("a", "b", "c")
calls = itertools.count()


@dataclass
class Seen:
    """An attempt as the machine saw it."""

    ticket: Ticket
    process: str
    arrival: int
    state: str = "waiting"  # granted, claimed, created
    claimed_at: float = 0.0
    granted_at: float = 0.0
    price: int = 0
    place_lost: bool = False  # with the state: should it wait again, it lines up anew


def prediction_of(seen: Seen) -> str:
    """What Replicate calls it."""
    return (
        seen.ticket.attempt.removeprefix("prediction:")
        if seen.ticket.attempt.startswith("prediction:")
        else f"of {seen.ticket.attempt}"
    )


@dataclass
class Books:
    """What happened, by the machine's own account."""

    attempts: dict[str, Seen] = field(default_factory=dict)
    answers: list[tuple[float, str]] = field(default_factory=list)  # with the prediction; refused ones have none
    cooldown_until: float = 0.0
    stopped: bool = False
    settled: int = 0


class GateMachine(RuleBasedStateMachine):
    """Subclasses give `redis`."""

    redis: Redis

    @initialize(
        concurrent=st.integers(1, 4), per_window=st.integers(1, 6), budget=st.sampled_from([None, None, 4, 9, 25])
    )
    def begin(self, concurrent: int, per_window: int, budget: int | None) -> None:
        self.redis.flushall()
        self.now = 1_700_000_000.0
        self.limits = {"max_concurrent": concurrent, "per_window": per_window}
        self.budget = budget
        settings = Settings(
            global_max_concurrent=concurrent,
            requests_per_minute=per_window,
            rate_window_seconds=WINDOW,
            lease_seconds=LEASE,
            prediction_timeout_seconds=TIMEOUT,
        )
        self.open_gate = lambda name: Gate(self.redis, settings, name, lambda: self.now)
        self.gates = {name: self.open_gate(name) for name in PROCESSES}
        self.keepsakes = dict.fromkeys(PROCESSES, "")
        self.beats = dict.fromkeys(PROCESSES, 0.0)
        self.books = Books()
        self.arrivals = itertools.count(1)
        self.ids = itertools.count(1)
        self.gate = self.gates["a"]
        assert self.gate.rebuild([]) == (None, []), "a new account waits for nobody"
        if budget is not None:
            self.gate.store_limits({"budget": budget})
        for name in PROCESSES:
            self.beat(name)

    # -- what processes do ----------------------------------------------------------------------------------

    @rule(process=st.sampled_from(PROCESSES))
    def beat(self, process: str) -> None:
        self.beats[process] = self.now
        unclaimed_before = {k for k in self.having("granted") if self.books.attempts[k].process == process}
        beat = self.call(lambda: self.gates[process].heartbeat({}))
        self.keepsakes[process] = beat.keepsake or self.keepsakes[process]
        unclaimed = beat.unclaimed
        still = unclaimed_before & set(self.having("granted"))
        assert still <= set(unclaimed), "a heartbeat names the hand-offs its process has not claimed"

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 2.5, 6.0, 11.0]), keep_alive=st.booleans())
    def wait(self, seconds: float, keep_alive: bool) -> None:
        for _ in range(int(seconds // 2) if keep_alive else 0):
            self.now += 2
            for name in PROCESSES:
                self.beat(name)
            seconds -= 2
        self.now += seconds
        self.call(self.gate.pump)

    @precondition(lambda self: len(self.books.attempts) < 6)
    @rule(crowd=st.lists(st.sampled_from(PROCESSES), min_size=2, max_size=6))
    def acquire_many(self, crowd: list[str]) -> None:
        for process in crowd:
            self.acquire(process, 1, 3)

    @rule(process=st.sampled_from(PROCESSES), price=st.integers(0, 5), priority=st.sampled_from([0, 3, 6]))
    def acquire(self, process: str, price: int, priority: int) -> None:
        if not self.alive(process):
            self.beat(process)
        ticket = Ticket(f"g{next(self.ids)}:1", 1, price / MICRO, "", priority)
        seen = Seen(ticket, process, next(self.arrivals), price=price)
        standing, again = self.call(lambda: self.gates[process].acquire(ticket))
        if standing in (Standing.STOPPED, Standing.UNAFFORDABLE):
            if standing == Standing.STOPPED:
                assert self.books.stopped
            else:
                assert self.budget is not None and self.taken() + price > self.budget
            assert self.gates[process].adopt(ticket.attempt, 1) == Standing.UNKNOWN
            return
        self.books.attempts[ticket.attempt] = seen
        if standing == Standing.CLAIMED:
            seen.state = "granted"
            self.reconcile_books(but=ticket.attempt)
            self.note_claim(ticket.attempt)
        else:
            assert standing == Standing.WAITING
            assert not self.books.stopped
            if self.alive(process) and not self.others_waiting_before(seen):
                assert again is not None or self.full(), "a head waiter is told when to ask again, or is woken"
        self.reconcile_books()

    @precondition(lambda self: self.having("granted"))
    @rule(data=st.data())
    def claim(self, data: st.DataObject) -> None:
        attempt, seen = self.pick(data, "granted")
        cooling = self.now < self.books.cooldown_until
        (standing,), _ = self.call(lambda: self.gates[seen.process].claim([seen.ticket]))
        if standing == Standing.CLAIMED:
            assert not cooling and not self.books.stopped
            self.note_claim(attempt)
        elif standing == Standing.STOPPED:
            assert self.books.stopped
            self.books.attempts.pop(attempt, None)
        else:
            lapsed = self.now >= seen.granted_at + CLAIM_SECONDS
            assert cooling or lapsed, f"a hand-off in time is claimed, not {standing}"
        self.reconcile_books()

    @precondition(lambda self: self.having("claimed"))
    @rule(data=st.data())
    def created(self, data: st.DataObject) -> None:
        _, seen = self.pick(data, "claimed")
        self.answer(lambda: self.gates[seen.process].created(seen.ticket, prediction_of(seen)), prediction_of(seen))
        seen.state = "created"
        self.reconcile_books()

    @precondition(lambda self: self.having("claimed"))
    @rule(data=st.data())
    def refused(self, data: st.DataObject) -> None:
        attempt, seen = self.pick(data, "claimed")
        self.answer(lambda: self.gates[seen.process].refused(seen.ticket))
        del self.books.attempts[attempt]
        self.reconcile_books()

    @precondition(lambda self: self.having("claimed"))
    @rule(data=st.data(), retry_after=st.none() | st.sampled_from([0.5, 3.0, 10.0]))
    def throttled(self, data: st.DataObject, retry_after: float | None) -> None:
        _, seen = self.pick(data, "claimed")
        self.answer(lambda: self.gates[seen.process].throttled(seen.ticket, retry_after))
        self.books.cooldown_until = max(self.books.cooldown_until, self.now + (retry_after or 0.5))
        seen.state = "waiting"
        self.reconcile_books()

    @precondition(lambda self: len(self.having("claimed")) > 1)
    @rule(waits=st.permutations([10.0, 0.5, 3.0, 0.5]))
    def throttled_at_once(self, waits: list[float]) -> None:
        for attempt, retry_after in zip(self.having("claimed"), waits, strict=False):
            seen = self.books.attempts[attempt]
            self.answer(lambda s=seen, wait=retry_after: self.gates[s.process].throttled(s.ticket, wait))
            self.books.cooldown_until = max(self.books.cooldown_until, self.now + retry_after)
            seen.state = "waiting"
            self.reconcile_books()

    @precondition(lambda self: self.having("created"))
    @rule(data=st.data(), failed=st.booleans())
    def release(self, data: st.DataObject, failed: bool) -> None:
        attempt, seen = self.pick(data, "created")
        cost = 0 if failed else seen.price
        self.step(lambda: self.gates[seen.process].released(seen.ticket, cost / MICRO))
        self.books.settled += cost
        del self.books.attempts[attempt]
        self.reconcile_books()

    @precondition(lambda self: self.having("waiting"))
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        attempt, seen = self.pick(data, "waiting")
        self.step(lambda: self.gates[seen.process].released(seen.ticket, 0.0))
        del self.books.attempts[attempt]
        self.reconcile_books()

    @precondition(lambda self: self.books.attempts)
    @rule(data=st.data(), heir=st.sampled_from(PROCESSES))
    def take_over(self, data: st.DataObject, heir: str) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.books.attempts)))
        seen = self.books.attempts[attempt]
        stale, stale_process = seen.ticket, seen.process
        if heir == stale_process:
            return
        seen.ticket = Ticket(attempt, stale.fence + 1, stale.price_usd, "", stale.priority)
        seen.process = heir
        prediction = prediction_of(seen) if seen.state == "created" else None
        standing = self.gates[heir].adopt(attempt, seen.ticket.fence, prediction)
        assert standing != Standing.UNKNOWN
        stale_gate = self.gates[stale_process]
        for step in (stale_gate.released(stale, 1.0), stale_gate.created(stale, "another")):
            assert run_together(self.redis, step)[0][0] == 0, "who lost custody changes nothing"
        self.reconcile_books()

    @precondition(lambda self: self.having("claimed"))
    @rule(data=st.data(), heir=st.sampled_from(PROCESSES))
    def acquire_taken_over(self, data: st.DataObject, heir: str) -> None:
        attempt, seen = self.pick(data, "claimed")
        if heir == seen.process:
            return
        assert run_together(self.redis, self.gates[seen.process].refused(Ticket(attempt, 0, 0.0)))[0][0] == 0
        seen.ticket = Ticket(attempt, seen.ticket.fence + 1, seen.ticket.price_usd, "", seen.ticket.priority)
        seen.process = heir
        standing, _ = self.gates[heir].acquire(seen.ticket)
        next(calls)
        assert standing == Standing.UNSETTLED, "an unanswered POST is found out about before another is sent"
        self.reconcile_books()

    @rule(concurrent=st.integers(1, 4), per_window=st.integers(1, 6))
    def change_limits(self, concurrent: int, per_window: int) -> None:
        self.limits = {"max_concurrent": concurrent, "per_window": per_window}
        self.gate.store_limits(dict(self.limits))
        self.beat("a")

    @rule(lift=st.sampled_from([True, True, True, False]))
    def stop_or_resume(self, lift: bool) -> None:
        if lift:
            if self.books.stopped:
                self.books.cooldown_until = 0.0
            self.books.stopped = False
            self.call(self.gate.resume)
        else:
            self.books.stopped = True
            self.call(lambda: self.gate.stop("TokenRefused: no"))
        self.reconcile_books()

    @rule(dead=st.sampled_from([None, None, *PROCESSES[1:]]))
    def lose_the_state(self, dead: str | None) -> None:  # noqa: PLR0912  # one story, told in order
        for name in PROCESSES:
            self.beat(name)
        self.redis.flushall()
        runs = {prediction_of(seen) for seen in self.books.attempts.values() if seen.state == "created"}
        if dead and not any(
            seen.process == dead and seen.state == "claimed" for seen in self.books.attempts.values()
        ):
            self.gates[dead] = self.open_gate(dead)
            for attempt, seen in list(self.books.attempts.items()):
                if seen.process == dead:
                    del self.books.attempts[attempt]
        # A refused POST is in no list; the account goes on gently.
        self.books.answers = [(at, prediction) for at, prediction in self.books.answers if prediction]
        for name in PROCESSES:
            beat = self.gates[name].heartbeat({})
            assert beat.must_report and not beat.keepsake
            self.beats[name] = self.now
        for name in PROCESSES:
            gate = self.gates[name]
            for ticket in [ticket for ticket, _ in gate._held.values() if ticket.attempt not in self.books.attempts]:
                gate.released(ticket, 0.0)  # past its hard deadline
            gate.report(self.keepsakes[name])
        lost = [seen for seen in self.books.attempts.values() if seen.state in ("waiting", "granted")]
        for seen in sorted(lost, key=lambda seen: seen.arrival):
            standing, _ = self.gates[seen.process].acquire(seen.ticket)
            if standing in (Standing.STOPPED, Standing.UNAFFORDABLE):
                del self.books.attempts[seen.ticket.attempt]
            else:
                assert standing == Standing.WAITING, "nothing is granted before the state is trusted"
                seen.state = "waiting"
        rows = {
            prediction: Row(prediction, prediction in runs, self.now - at) for at, prediction in self.books.answers
        }
        rows |= {prediction: rows.get(prediction, Row(prediction, True, 20.0)) for prediction in runs}
        for name in PROCESSES:
            self.beat(name)
        wait, orphans = self.gate.rebuild(rows.values())
        if wait is not None:
            self.now += wait
            for name in PROCESSES:
                self.beat(name)
            wait, orphans = self.gate.rebuild(rows.values())
        assert wait is None
        assert set(orphans) == runs - {prediction_of(seen) for seen in self.books.attempts.values()}
        for prediction in orphans:
            ticket = self.gate.orphan(prediction)
            self.books.attempts[ticket.attempt] = Seen(ticket, "a", 0, "created", self.now - 25.0)
        for seen in self.books.attempts.values():
            seen.place_lost = seen.place_lost or seen.state in ("claimed", "created")  # it has a slot, but no arrival
        orders = self.redis.hgetall(self.gate.prefix + "tickets")
        for attempt, seen in self.books.attempts.items():
            if attempt in orders:
                seen.arrival = int(orders[attempt].split("\t")[4]) % 2**42
        self.arrivals = itertools.count(max((seen.arrival for seen in self.books.attempts.values()), default=0) + 1)
        self.reconcile_books()

    # -- what must always hold ------------------------------------------------------------------------------

    @invariant()
    def counters_equal_the_sets_they_count(self) -> None:
        if not hasattr(self, "gates"):
            return
        key = self.gate.prefix
        slots = set(self.redis.zrange(key + "slots", 0, -1))
        granted = set(self.redis.zrange(key + "granted", 0, -1))
        creating = set(self.redis.zrange(key + "creating", 0, -1))
        waiters = set(self.redis.zrange(key + "waiters", 0, -1))
        assert granted | creating <= slots and not granted & creating
        assert set(self.redis.hkeys(key + "tickets")) == slots | waiters and not slots & waiters
        posts = sum(int(entry.split(":")[1]) for entry in self.redis.lrange(key + "window", 0, -1))
        assert posts == int(self.redis.hget(key + "limits", "posts") or 0)
        prices = {k: int(v.split("\t")[2]) for k, v in self.redis.hgetall(key + "tickets").items()}
        money = self.redis.hgetall(key + "spend")
        assert int(money.pop("reserved", 0)) == sum(prices[attempt] for attempt in slots)
        assert sum(map(int, money.values())) == self.books.settled, "each cost is settled once"
        if self.budget is not None:
            assert self.books.settled + sum(prices[attempt] for attempt in slots) <= self.budget

    def teardown(self) -> None:
        if hasattr(self, "gates"):
            self.every_waiter_is_served()

    def every_waiter_is_served(self) -> None:
        self.books.stopped = False
        self.now = max(self.now, self.books.cooldown_until)
        self.gate.store_limits({"budget": None})
        self.call(self.gate.resume)
        for name in PROCESSES:
            self.beat(name)
        self.budget = None
        for _ in range(600):
            for name in PROCESSES:
                self.beat(name)
            for attempt, seen in list(self.books.attempts.items()):
                gate = self.gates[seen.process]
                if seen.state == "granted":
                    (standing,), _ = self.call(lambda g=gate, s=seen: g.claim([s.ticket]))
                    if standing == Standing.CLAIMED:
                        self.note_claim(attempt)
                if seen.state == "claimed":
                    self.answer(lambda g=gate, s=seen: g.created(s.ticket, prediction_of(s)), prediction_of(seen))
                    seen.state = "created"
                if seen.state == "created":
                    self.step(lambda g=gate, s=seen: g.released(s.ticket, 0.0))
                    del self.books.attempts[attempt]
                self.reconcile_books()
            if not self.books.attempts:
                return
            self.now += min(LEASE / 2, 1.1)
        left = {attempt: seen.state for attempt, seen in self.books.attempts.items()}
        raise AssertionError(f"never served: {left}")

    # -- how it sees ----------------------------------------------------------------------------------------

    def call(self, run):
        """One call, and the same once more: a client's hidden retry must change nothing."""
        answer = run()
        next(calls)
        before = self.snapshot()
        run()
        next(calls)
        assert self.snapshot() == before, "the same call twice changes nothing twice"
        self.reconcile_books()
        return answer

    def step(self, make):
        ((counted, _),) = run_together(self.redis, make())
        next(calls)
        assert counted == 1
        before = self.snapshot()
        ((again, _),) = run_together(self.redis, make())
        next(calls)
        assert again == 0 and self.snapshot() == before

    def answer(self, make, prediction: str = "") -> None:
        self.step(make)
        self.books.answers.append((self.now, prediction))

    def snapshot(self):
        key = self.gate.prefix
        with self.redis.pipeline() as pipeline:
            for name in ("slots", "granted", "creating", "waiters"):
                pipeline.zrange(key + name, 0, -1, withscores=True)
            pipeline.lrange(key + "window", 0, -1)
            pipeline.hgetall(key + "tickets")
            pipeline.hgetall(key + "limits")
            pipeline.hgetall(key + "spend")
            *sets, window, tickets, limits, spend = pipeline.execute()
        return sets, window, tickets, limits, spend

    def reconcile_books(self, but: str = "") -> None:
        """Learn what the scripts did to others, and check that each grant was allowed and in its turn."""
        key = self.gate.prefix
        granted = set(self.redis.zrange(key + "granted", 0, -1))
        slots = set(self.redis.zrange(key + "slots", 0, -1))
        creating = set(self.redis.zrange(key + "creating", 0, -1))
        waiting = set(self.redis.zrange(key + "waiters", 0, -1))
        # Taken back, or gone with a dead process, or past the hard deadline.
        for attempt, seen in list(self.books.attempts.items()):
            if attempt == but:
                continue
            if seen.state == "granted" and attempt not in granted | creating:
                lapsed = self.now >= seen.granted_at + CLAIM_SECONDS
                assert lapsed or self.now < self.books.cooldown_until or self.books.stopped
                if attempt in waiting:
                    seen.state = "waiting"
                else:
                    assert not self.alive(seen.process) or self.books.stopped or self.budget is not None
                    del self.books.attempts[attempt]
            elif seen.state in ("claimed", "created") and attempt not in slots:
                assert self.now >= seen.claimed_at + SLOT_SECONDS, "a slot belongs to its prediction to the end"
                self.books.settled += seen.price
                del self.books.attempts[attempt]
            elif seen.state == "waiting" and attempt not in waiting and attempt not in granted:
                gone = not self.alive(seen.process) or self.books.stopped
                assert gone or self.budget is not None, "a live waiter keeps its place"
                del self.books.attempts[attempt]
        fresh = [k for k, s in self.books.attempts.items() if s.state == "waiting" and k in granted]
        for attempt in sorted(fresh, key=self.turn):
            seen = self.books.attempts[attempt]
            assert self.alive(seen.process), "nothing is granted to the dead"
            assert not self.books.stopped and self.now >= self.books.cooldown_until
            for other, rival in self.books.attempts.items():
                if seen.place_lost or rival.place_lost:
                    continue
                if rival.state == "waiting" and other not in fresh and self.alive(rival.process):
                    assert self.turn(attempt) < self.turn(other), "first come, first served"
            seen.state, seen.granted_at = "granted", self.now
            self.check_limits()

    def note_claim(self, attempt: str) -> None:
        seen = self.books.attempts[attempt]
        seen.state, seen.claimed_at = "claimed", self.now
        assert self.now >= self.books.cooldown_until and not self.books.stopped
        self.check_limits(raised=False)

    def check_limits(self, raised: bool = True) -> None:
        states = [seen.state for seen in self.books.attempts.values()]
        busy = sum(state != "waiting" for state in states)
        open_posts = sum(state in ("granted", "claimed") for state in states)
        recent = sum(answered > self.now - WINDOW for answered, _ in self.books.answers)
        if raised:
            assert busy <= self.limits["max_concurrent"], "slots"
            assert open_posts + recent <= self.limits["per_window"], "a create counts until a window after its answer"

    def turn(self, attempt: str) -> tuple[int, int]:
        seen = self.books.attempts[attempt]
        return seen.ticket.priority, seen.arrival

    def others_waiting_before(self, seen: Seen) -> bool:
        return any(
            other is not seen and other.state == "waiting" and self.alive(other.process)
            for other in self.books.attempts.values()
        )

    def full(self) -> bool:
        busy = [seen.state for seen in self.books.attempts.values() if seen.state != "waiting"]
        return bool(busy)

    def taken(self) -> int:
        held = sum(seen.price for seen in self.books.attempts.values() if seen.state != "waiting")
        return self.books.settled + held

    def alive(self, process: str) -> bool:
        return self.beats[process] > self.now - LEASE

    def having(self, state: str) -> list[str]:
        return sorted(k for k, seen in self.books.attempts.items() if seen.state == state)

    def pick(self, data: st.DataObject, state: str) -> tuple[str, Seen]:
        attempt = data.draw(st.sampled_from(self.having(state)))
        return attempt, self.books.attempts[attempt]
