"""What processes do at the limiter from day to day, and what operators do to it."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from replibatch.errors import Stop
from replibatch.limits.limiter import CLAIM_SECONDS
from replibatch.limits.outages import MISSING, Fault
from replibatch.limits.tickets import Standing, Ticket
from replibatch.money import to_micro, to_usd
from replibatch.redisdb.scripts import run_together
from tests.histories.books import LEASE, Seen
from tests.histories.state import SHARED
from tests.histories.world import LIMITS, WHO, World


class Machine(World):
    """What is done at the limiter, and what must hold of it."""

    # -- one attempt after another ------------------------------------------------------------------------------

    @precondition(lambda self: len(self.books.attempts) < 6)
    @rule(crowd=st.lists(WHO, min_size=2, max_size=6))
    def acquire_many(self, crowd: list[int]) -> None:
        for who in crowd:
            self.acquire(who, 1, 3, SHARED)

    @rule(
        who=WHO,
        price=st.integers(0, 5),
        priority=st.sampled_from([0, 3, 6]),
        shared=st.sampled_from(["", SHARED]),
        model=st.sampled_from(["", "m"]),
        yields=st.booleans(),
    )
    def acquire(
        self, who: int, price: int, priority: int, shared: str, model: str = "", *, yields: bool = False
    ) -> None:
        process = self.processes[who]
        if self.books.silent(process):
            self.beat(who)
        ticket = Ticket(f"g{next(self.ids)}:1", 1, to_usd(price), shared, priority, model, yields=yields)
        affordable = self.books.affords(ticket)

        def effect(answer: tuple[Standing, float | None]) -> None:
            if answer[0] in (Standing.STOPPED, Standing.UNAFFORDABLE):
                assert self.books.stopped if answer[0] == Standing.STOPPED else not affordable
            elif answer[0] == Standing.OUT:
                assert self.books.may_yield(Seen(ticket, process, 0)), "its model is out, and nothing else"
            else:
                assert affordable and not self.books.stopped, "what can never be granted is refused at once"
                self.books.attempts[ticket.attempt_key] = Seen(ticket, process, next(self.arrivals))

        standing, again = self.call(lambda: self.limiters[process].acquire(ticket), effect)
        if standing == Standing.WAITING:
            assert again is not None or self.state.slots, "a head waiter is told when to ask again, or is woken"
        else:
            assert self.state.where(ticket.attempt_key) == ("claimed" if standing == Standing.CLAIMED else "")

    @precondition(lambda self: self.books.having("granted"))
    @rule(data=st.data())
    def claim_one(self, data: st.DataObject) -> None:
        self.claim(self.pick(data, "granted"))

    def claim(self, attempt: str) -> None:
        seen = self.books.attempts[attempt]
        assert seen.state == "granted"
        limiter = self.limiters[seen.process]
        self.call(lambda: limiter.claim([seen.ticket]), lambda answer: self.handed_off(attempt, answer[0][0]))

    def handed_off(self, attempt: str, standing: Standing) -> None:
        """What has become of a hand-off that was to be claimed."""
        seen = self.books.attempts[attempt]
        if standing == Standing.CLAIMED:
            self.books.claimed(attempt)
        elif standing == Standing.STOPPED:
            assert self.books.stopped
            del self.books.attempts[attempt]
        else:
            lapsed = self.books.now >= seen.granted_at + CLAIM_SECONDS
            may_wait = lapsed or self.books.now < self.books.cooldown_until or self.books.needs(seen)
            assert may_wait, f"a hand-off is claimed, not {standing}"
            seen.state = "waiting"

    @precondition(lambda self: self.books.having("claimed"))
    @rule(data=st.data())
    def created_one(self, data: st.DataObject) -> None:
        self.created(self.pick(data, "claimed"))

    def created(self, attempt: str) -> None:
        seen = self.books.attempts[attempt]

        def effect() -> None:
            seen.state = "created"
            self.books.answered(seen.prediction)
            self.books.outages.pop("api", None)
            self.books.model_works(seen, MISSING)
            self.books.attempts.pop(f"prediction:{seen.prediction}", None)  # it was listed before its answer came

        self.step(lambda: self.limiter_of(attempt).created_step(seen.ticket, seen.prediction), effect)

    @precondition(lambda self: self.books.having("claimed"))
    @rule(data=st.data())
    def refused_one(self, data: st.DataObject) -> None:
        self.refused(self.pick(data, "claimed"))

    def refused(self, attempt: str) -> None:
        seen = self.books.attempts[attempt]

        def effect() -> None:
            self.books.answered()
            self.books.put_off_probe(seen)
            del self.books.attempts[attempt]

        self.step(lambda: self.limiters[seen.process].refused_step(seen.ticket), effect)

    @precondition(lambda self: self.books.having("claimed"))
    @rule(waits=st.lists(st.sampled_from([None, 0.5, 3.0, 10.0]), min_size=1, max_size=4))
    def throttled_some(self, waits: list[float | None]) -> None:
        for attempt, retry_after in zip(self.books.having("claimed"), waits, strict=False):
            self.throttled(attempt, retry_after)

    def throttled(self, attempt: str, retry_after: float | None) -> None:
        seen = self.books.attempts[attempt]

        def effect() -> None:
            self.books.throttled(retry_after)
            self.books.outages.pop("api", None)
            seen.state = "waiting"

        self.step(lambda: self.limiters[seen.process].throttled_step(seen.ticket, retry_after), effect)

    @precondition(lambda self: self.books.having("created"))
    @rule(data=st.data(), failed=st.booleans())
    def release_one(self, data: st.DataObject, failed: bool) -> None:
        self.release(self.pick(data, "created"), failed=failed)

    def release(self, attempt: str, *, failed: bool = False) -> None:
        seen = self.books.attempts[attempt]
        cost = 0 if failed else seen.price

        def effect() -> None:
            self.books.settle(seen, cost)
            if not failed:
                self.books.model_works(seen, "refused")
            self.books.put_off_probe(seen)
            del self.books.attempts[attempt]

        limiter = self.limiters[seen.process]
        self.step(lambda: limiter.released_step(seen.ticket, to_usd(cost), succeeded=not failed), effect)

    @precondition(lambda self: self.books.having("waiting"))
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        seen = self.books.attempts[self.pick(data, "waiting")]
        self.step(
            lambda: self.limiters[seen.process].released_step(seen.ticket, 0.0),
            lambda: self.books.attempts.pop(seen.ticket.attempt_key),
        )

    @precondition(lambda self: self.books.having("waiting"))
    @rule(then=st.sampled_from(["throttled", "throttled twice", "stopped", "unclaimed", "claimed"]))
    def hand_off(self, then: str) -> None:
        """Room is made for several at once; then something comes between their hand-offs and their claims."""
        for attempt in self.books.having("claimed"):
            self.created(attempt)
        self.wait_for_the_window()
        for attempt in self.books.having("created"):
            self.release(attempt)
        granted = self.books.having("granted")
        if granted and then in ("throttled", "throttled twice", "claimed"):
            self.claim(granted.pop())
        if granted and then == "throttled twice":
            self.claim(granted.pop())
        if then.startswith("throttled"):
            self.throttled_some([3.0, 0.5])
            self.wait(1.0, False)
        if then == "stopped":
            self.stop_or_resume(lift=False)
        if then == "unclaimed":
            self.wait(CLAIM_SECONDS, False)  # its process is silent by now: who comes next in the line is served
        for attempt in granted:
            if attempt in self.books.having("granted"):
                self.claim(attempt)

    # -- what hits everybody -------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(["api", "storage", "model:m"]), pause=st.sampled_from([0.5, 4.0]))
    def report_fault(self, name: str, pause: float) -> None:
        self.report_one(Fault(name, "refused", "no", pause_seconds=pause))

    @rule(pause=st.sampled_from([0.5, 4.0]))
    def report_missing(self, pause: float) -> None:
        self.report_one(Fault("model:m", MISSING, "404", pause_seconds=pause))

    def report_one(self, fault: Fault) -> None:
        report = self.limiter.fault_step(fault)
        self.call(
            lambda: report.run(self.redis),
            lambda _: self.books.failed(fault.name, fault.pause_seconds, fault.kind),
        )

    @precondition(lambda self: self.books.having("claimed"))
    @rule(data=st.data(), pause=st.sampled_from([0.5, 4.0]))
    def hold_one(self, data: st.DataObject, pause: float) -> None:
        self.hold(self.pick(data, "claimed"), pause)

    def hold(self, attempt: str, pause: float = 0.5) -> None:
        """Its create met what is out: it waits again, at its place."""
        seen = self.books.attempts[attempt]
        fault = Fault("api", "refused", "no", pause_seconds=pause)

        def effect() -> None:
            self.books.answered()
            seen.state = "waiting"
            self.books.failed("api", pause)

        self.step(lambda: self.limiters[seen.process].held_step(seen.ticket, fault), effect)

    @precondition(lambda self: self.books.outages)
    @rule(name=st.sampled_from(["api", "storage", "model:m"]))
    def report_success(self, name: str) -> None:
        self.call(lambda: self.limiter.report_success(name), lambda _: self.books.outages.pop(name, None))

    # -- custody moves ------------------------------------------------------------------------------------------

    @precondition(lambda self: self.books.attempts)
    @rule(data=st.data(), heir=WHO, how=st.sampled_from(["adopt", "acquire"]))
    def take_over_one(self, data: st.DataObject, heir: int, how: str) -> None:
        self.take_over(data.draw(st.sampled_from(sorted(self.books.attempts))), heir, how)

    def take_over(self, attempt: str, heir: int, how: str, *, heard: bool = True) -> None:
        """Another process takes it over; `heard` where the earlier owner then goes on as if it still had it."""
        seen, process = self.books.attempts[attempt], self.processes[heir]
        stale, stale_limiter = seen.ticket, self.limiters.get(seen.process) or self.open_limiter(seen.process)
        if process == seen.process:
            return
        if not self.books.alive(process):
            self.beat(heir)
        if attempt not in self.books.attempts:
            return
        seen.ticket = Ticket(attempt, stale.fence + 1, stale.price_usd, stale.budget, stale.priority, stale.model)
        seen.process = process
        if how == "adopt" or seen.state == "created":
            prediction = seen.prediction if seen.state == "created" else None
            standing = self.call(lambda: self.limiters[process].adopt(seen.ticket, prediction))
            assert standing == seen.state
        elif seen.state == "claimed":
            standing, _ = self.limiters[process].acquire(seen.ticket)
            assert standing == Standing.UNSETTLED, "an unanswered POST is found out about before another is sent"
        elif seen.state == "granted":
            self.call(
                lambda: self.limiters[process].acquire(seen.ticket),
                lambda answer: self.handed_off(attempt, answer[0]),
            )
        else:
            self.call(lambda: self.limiters[process].acquire(seen.ticket))
        if not heard or attempt not in self.books.attempts:  # turned away as it was taken over: nobody's any more
            return
        assert stale_limiter.adopt(stale) == stale_limiter.acquire(stale)[0] == Standing.FENCED
        assert stale_limiter.claim([stale])[0] == [Standing.UNKNOWN]
        old = (
            stale_limiter.released_step(stale, 1.0),
            stale_limiter.created_step(stale, "another"),
            stale_limiter.refused_step(stale),
        )
        for step in old:
            assert run_together(self.redis, step)[0][0] == 0, "who lost custody changes nothing"
        self.look()

    # -- what operators do --------------------------------------------------------------------------------------

    @rule(limits=st.none() | LIMITS)
    def store_limits(self, limits: dict[str, int] | None) -> None:
        self.books.stored = limits or {}
        self.limiter.store_limits({"max_concurrent": None, "per_window": None, **self.books.stored})
        self.beat(0)

    @rule(who=WHO, limits=st.none() | LIMITS)
    def start_with_limits(self, who: int, limits: dict[str, int] | None) -> None:
        self.books.reports[self.processes[who]] = limits or {}
        self.beat(who)

    @rule(lift=st.sampled_from([True, True, False]), kind=st.sampled_from(["", "TokenRefused", "NoCredit"]))
    def stop_or_resume(self, lift: bool, kind: str = "") -> None:
        if not lift:
            self.books.stopped = self.books.stopped or f"{kind or 'TokenRefused'}: no"
        elif self.books.stopped and self.books.stopped.startswith(kind):
            self.books.stopped, self.books.cooldown_until = "", 0.0
        self.call(
            lambda: self.limiter.resume(kind) if lift else self.limiter.stop(Stop(kind or "TokenRefused", "no"))
        )

    # -- what must hold -----------------------------------------------------------------------------------------

    @invariant()
    def books_and_status_agree(self) -> None:
        if not hasattr(self, "state"):
            return
        self.books.agree_with(self.state, self.processes)
        status = self.limiter.status()
        assert status.in_flight == len(self.state.slots) and status.waiting == len(self.state.waiters)
        assert status.creating == len(self.state.creating) + len(self.state.granted)
        assert to_micro(status.spent_usd) + to_micro(status.reserved_usd) == self.books.taken()
        assert (str(status.stop) if status.stop else "") == self.books.stopped
        out = {outage.name for outage in status.outages if outage.kind != "waiting"}  # for an answer, for long
        assert out == self.books.outages.keys()

    def teardown(self) -> None:
        if hasattr(self, "state"):
            self.every_waiter_is_served()

    def every_waiter_is_served(self) -> None:
        self.tick(max(0.0, self.books.now - self.clock, self.books.cooldown_until - self.clock))
        self.books.budget = self.books.shared_cap = None
        self.limiter.store_limits({"budget": None})
        self.limiter.set_budget(SHARED, 1.0)
        self.everybody_beats()
        self.stop_or_resume(lift=True)
        for name in list(self.books.outages):
            self.report_success(name)
        for _ in range(100 * (len(self.books.attempts) + 3)):
            for attempt in self.books.having("granted"):
                self.claim(attempt)
            for attempt in self.books.having("claimed"):
                self.created(attempt)
            for attempt in self.books.having("created"):
                self.release(attempt)
            if not self.books.attempts:
                return
            self.tick(min(LEASE / 2, 1.1))
            self.everybody_beats()
        raise AssertionError(f"never served: {self.books.attempts}")
