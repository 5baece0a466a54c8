"""Several processes at one limiter, in time: they live, sleep and leave; every call is checked twice."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from redis import Redis

from replibatch.limits.limiter import Limiter
from replibatch.money import to_usd
from replibatch.redisdb.scripts import Step, run_together
from replibatch.settings import Settings
from tests.histories.books import LEASE, SLOT_SECONDS, TIMEOUT, WINDOW, Books
from tests.histories.state import SHARED, State

PROCESSES = 3
WHO = st.integers(0, PROCESSES - 1)
LIMITS = st.fixed_dictionaries({"max_concurrent": st.integers(1, 4), "per_window": st.integers(1, 6)})


class World(RuleBasedStateMachine):
    """Subclasses give `redis`.

    Attributes:
        calls: of scripts, over all histories.
    """

    redis: Redis
    calls = 0

    @initialize(
        configured=LIMITS, budget=st.sampled_from([None, None, 4, 9, 25]), cap=st.sampled_from([None, 3, 8, 20])
    )
    def begin(self, configured: dict[str, int], budget: int | None, cap: int | None) -> None:
        self.redis.flushdb()
        self.clock = 1_700_000_000.0
        self.books = Books(self.clock, configured, budget, cap)
        self.settings = Settings(
            global_max_concurrent=configured["max_concurrent"],
            requests_per_minute=configured["per_window"],
            rate_window_seconds=WINDOW,
            lease_seconds=LEASE,
            prediction_timeout_seconds=TIMEOUT,
        )
        self.processes = [f"process {number}" for number in range(PROCESSES)]
        self.limiters = {name: self.open_limiter(name) for name in self.processes}
        self.snapshots: dict[str, str] = {}
        self.earlier_snapshots: dict[str, str] = {}
        self.arrivals, self.ids = itertools.count(1), itertools.count(1)
        assert self.limiter.rebuild([]) == (None, []), "a new account waits for nobody"
        if budget is not None:
            self.limiter.store_limits({"budget": budget})
        if cap is not None:
            self.limiter.set_budget(SHARED, to_usd(cap))
        self.state = State.read(self.redis, self.limiter.prefix)
        self.everybody_beats()

    def open_limiter(self, name: str) -> Limiter:
        return Limiter(self.redis, self.settings, name, lambda: self.clock)

    @property
    def limiter(self) -> Limiter:
        return self.limiters[self.processes[0]]

    def limiter_of(self, attempt: str) -> Limiter:
        return self.limiters[self.books.attempts[attempt].process]

    # -- time and life ------------------------------------------------------------------------------------------

    @rule(who=WHO)
    def beat(self, who: int) -> None:
        process = self.processes[who]
        mine = {a for a, seen in self.books.attempts.items() if seen.process == process and seen.has_no_answer}
        self.books.heard_of(process)
        beat = self.call(lambda: self.limiters[process].heartbeat(self.books.reports.get(process, {})))
        self.earlier_snapshots[process] = self.snapshots.get(process, "")
        self.snapshots[process] = beat.snapshot or self.earlier_snapshots[process]
        mine &= {attempt for attempt, seen in self.books.attempts.items() if seen.has_no_answer}
        assert mine <= set(beat.handed), "a heartbeat names what its process may not have heard of"
        if not beat.must_report:
            assert beat.max_concurrent == self.books.limits["max_concurrent"]

    def everybody_beats(self) -> None:
        for who in range(PROCESSES):
            self.beat(who)

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 2.5, 6.0, 11.0]), keep_alive=st.booleans())
    def wait(self, seconds: float, keep_alive: bool) -> None:
        while keep_alive and seconds > 2:
            self.tick(2.0)
            self.everybody_beats()
            seconds -= 2
        self.tick(seconds)
        self.call(self.limiter.pump)
        self.books.nobody_waits_in_vain(self.state)

    def wait_for_the_window(self) -> None:
        """A window and some more, at the end of which time alone has freed what is handed off."""
        self.wait(WINDOW - 1.5, True)
        self.everybody_beats()
        self.wait(1.7, False)

    def tick(self, seconds: float) -> None:
        self.clock += seconds
        self.books.now = max(self.books.now, self.clock)

    @rule(seconds=st.sampled_from([0.5, 3.0]))
    def the_clock_steps_back(self, seconds: float) -> None:
        self.clock -= seconds

    @precondition(lambda self: any(seen.claimed_at for seen in self.books.attempts.values()))
    @rule(seconds=st.sampled_from([-0.1, 0.1]))
    def the_machines_sleep_until_a_slot_lapses(self, seconds: float) -> None:
        lapses_at = min(seen.claimed_at for seen in self.books.attempts.values() if seen.claimed_at) + SLOT_SECONDS
        self.tick(max(0.0, lapses_at + seconds - self.clock))
        self.everybody_beats()

    @rule(who=WHO)
    def leave(self, who: int) -> None:
        process = self.processes[who]
        self.books.reports.pop(process, None)
        self.books.heard_of(process, leaving=True)
        self.call(lambda: self.limiters[process].heartbeat({}, leaving=True))

    # -- how it sees --------------------------------------------------------------------------------------------

    def call(self, run: Callable[[], Any], effect: Callable[[Any], None] = lambda answer: None) -> Any:
        """One call with its effect on the books, and the same once more: a client's hidden retry changes nothing."""
        answer = run()
        effect(answer)
        self.look()
        run()
        self.nothing_has_changed()
        return answer

    def step(self, make: Callable[[], Step], effect: Callable[[], object]) -> None:
        """The same of a step, which says whether it counted."""
        assert run_together(self.redis, make())[0][0] == 1
        effect()
        self.look()
        assert run_together(self.redis, make())[0][0] == 0
        self.nothing_has_changed()

    def look(self) -> None:
        type(self).calls += 1
        self.state = State.read(self.redis, self.limiter.prefix)
        self.state.check_itself()
        for attempt in self.books.learn(self.state):  # its process hears of it
            limiter = self.limiter_of(attempt)
            assert limiter.holdings.was_claimed(self.books.attempts[attempt].ticket, limiter.holdings.reports)

    def nothing_has_changed(self) -> None:
        type(self).calls += 1
        assert State.read(self.redis, self.limiter.prefix) == self.state, "the same call twice changes nothing twice"

    def pick(self, data: st.DataObject, state: str) -> str:
        return data.draw(st.sampled_from(self.books.having(state)))
