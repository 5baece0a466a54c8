"""What the histories know by themselves: every attempt, answer and cent, and what each promise allows."""

from __future__ import annotations

from dataclasses import dataclass, field

from replibatch.limits.limiter import CLAIM_SECONDS, POST_SECONDS, SLOT_MARGIN_SECONDS
from replibatch.limits.outages import MISSING
from replibatch.limits.tickets import Ticket
from replibatch.money import to_micro
from tests.histories.state import SHARED, State

LEASE, WINDOW, TIMEOUT = 5.0, 10.0, 5.0
SLOT_SECONDS = POST_SECONDS + TIMEOUT + SLOT_MARGIN_SECONDS
PROBE_SECONDS = 60.0
FIRST_COOLDOWN = 1.0  # at least, where a 429 names no wait


@dataclass
class Seen:
    """An attempt as the histories saw it; its state is waiting, granted, claimed or created."""

    ticket: Ticket
    process: str
    arrival: int
    state: str = "waiting"
    granted_at: float = 0.0
    claimed_at: float = 0.0
    place_lost: bool = False  # with the account's state, while it held a slot: should it wait again, it lines up anew

    @property
    def price(self) -> int:
        return to_micro(self.ticket.price_usd)

    @property
    def has_no_answer(self) -> bool:
        return self.state in ("granted", "claimed")

    @property
    def turn(self) -> tuple[int, int]:
        return self.ticket.priority, self.arrival

    @property
    def prediction(self) -> str:
        """What Replicate calls it."""
        attempt = self.ticket.attempt_key
        return attempt.partition(":")[2] if attempt.startswith("prediction:") else f"of {attempt}"


@dataclass(eq=False)  # two that began alike are two
class Out:
    """An outage, as the histories know it: when its next probe may begin, and the probe."""

    probe_at: float
    pause: float
    probe: str = ""
    until: float = 0.0
    kind: str = "refused"


@dataclass
class Books:
    """What happened.

    Attributes:
        now: the latest time Redis' clock has shown.
        configured: the default limits; `stored` the operator's; `reports` what each process was given.
        stopped: why nothing is granted; empty where it is.
        outages: what is out, by name.
        limits: those in force: as of the last heartbeat of anybody.
        beats: when each process was last heard of.
        answers: when each POST was answered, with its prediction; refused ones have none.
        gentle: the most open creates, after a 429, until as many as the limit have gone through.
        settled: micro-dollars; `shared_settled` of those the shared budget's.
        left: what an older copy has handed to waiters of a process that is dead by now, until that lapses.
    """

    now: float
    configured: dict[str, int]
    budget: int | None = None
    shared_cap: int | None = None
    attempts: dict[str, Seen] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)
    reports: dict[str, dict[str, int]] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    beats: dict[str, float] = field(default_factory=dict)
    answers: list[tuple[float, str]] = field(default_factory=list)
    cooldown_until: float = 0.0
    gentle: int | None = None
    stopped: str = ""
    outages: dict[str, Out] = field(default_factory=dict)
    settled: int = 0
    shared_settled: int = 0
    left: list[Ticket] = field(default_factory=list)

    def having(self, state: str) -> list[str]:
        return sorted(attempt for attempt, seen in self.attempts.items() if seen.state == state)

    def alive(self, process: str) -> bool:
        return self.beats.get(process, 0.0) > self.now - LEASE

    def silent(self, process: str) -> bool:
        """Not heard of for as long as a hand-off is its waiter's: it may be dead, or not."""
        return self.beats.get(process, 0.0) <= self.now - CLAIM_SECONDS

    def heard_of(self, process: str, *, leaving: bool = False) -> None:
        """The limits in force are looked at again with each heartbeat: the operator's, else the lowest reported."""
        self.beats[process] = 0.0 if leaving else self.now
        self.limits = dict(self.configured)
        for name in self.configured:
            reported = [given[name] for who, given in self.reports.items() if name in given and self.alive(who)]
            if name in self.stored or reported:
                self.limits[name] = self.stored.get(name) or min(reported)

    def taken(self, shared: str = "") -> int:
        """Spent and reserved, of everything or of the shared budget."""
        spent = self.shared_settled if shared else self.settled
        holders = [*self.left, *(seen.ticket for seen in self.attempts.values() if seen.state != "waiting")]
        return spent + sum(to_micro(each.price_usd) for each in holders if not shared or each.budget == shared)

    def affords(self, ticket: Ticket) -> bool:
        price = to_micro(ticket.price_usd)
        if self.budget is not None and self.taken() + price > self.budget:
            return False
        return not ticket.budget or self.shared_cap is None or self.taken(SHARED) + price <= self.shared_cap

    def settle(self, seen: Seen, cost: int) -> None:
        self.settled += cost
        self.shared_settled += cost if seen.ticket.budget else 0

    def answered(self, prediction: str = "") -> None:
        self.answers.append((self.now, prediction))
        if prediction and self.gentle:
            self.gentle = 2 * self.gentle if self.gentle < self.limits["per_window"] else None

    def throttled(self, retry_after: float | None) -> None:
        self.answered()
        self.cooldown_until = max(self.cooldown_until, self.now + (retry_after or FIRST_COOLDOWN))
        self.gentle = 1

    def needs(self, seen: Seen) -> list[Out]:
        """What it needs and is out."""
        names = ("api", "storage", f"model:{seen.ticket.model}")
        return [self.outages[name] for name in names if name in self.outages]

    def is_held(self, seen: Seen) -> bool:
        """Whether it needs what is out, and must not be its next probe yet."""
        attempt = seen.ticket.attempt_key
        return any(out.probe != attempt and (self.now < out.probe_at or self.probes(out)) for out in self.needs(seen))

    def probes(self, out: Out) -> bool:
        """Whether an outage's probe is under way."""
        probe = self.attempts.get(out.probe)
        return bool(probe and probe.state != "waiting" and self.now < out.until)

    def may_yield(self, seen: Seen) -> bool:
        """Whether it may leave the line as its model is out: it yields, and that alone holds it."""
        out = self.outages.get(f"model:{seen.ticket.model}")
        return bool(seen.ticket.yields) and self.is_held(seen) and self.needs(seen) == [out]

    def put_off_probe(self, seen: Seen) -> None:
        """A model's probe is over without success, and its failure still to be reported."""
        out = self.outages.get(f"model:{seen.ticket.model}")
        if out and out.probe == seen.ticket.attempt_key:
            out.probe_at = max(out.probe_at, self.now + 0.5)

    def model_works(self, seen: Seen, kind: str) -> None:
        """What ends an outage of its model of that kind has come."""
        out = self.outages.get(f"model:{seen.ticket.model}")
        if out and out.kind == kind:
            del self.outages[f"model:{seen.ticket.model}"]

    def failed(self, name: str, pause: float, kind: str = "refused") -> None:
        out = self.outages.setdefault(name, Out(self.now, pause, kind=kind))
        if out.kind == MISSING != kind:
            return
        out.kind = kind
        if not self.probes(out):
            if self.now >= out.probe_at:
                out.probe_at = self.now + pause
            out.probe = ""

    def granted(self, attempt: str) -> None:
        """A hand-off, or a grant to the caller itself: every limit must allow it, and its turn must have come."""
        seen = self.attempts[attempt]
        assert not self.silent(seen.process), "nothing is granted to who may be dead"
        assert not self.stopped and self.now >= self.cooldown_until, "nothing is granted in a stop or a cooldown"
        assert not self.is_held(seen), "nothing that needs what is out is granted, but one probe"
        for rival in self.attempts.values():
            if (
                rival.state == "waiting"
                and not self.silent(rival.process)
                and not self.is_held(rival)
                and not (seen.place_lost or rival.place_lost)
            ):
                assert seen.turn <= rival.turn, "first come, first served"
        for name, out in self.outages.items():
            if out in self.needs(seen):
                out.probe = attempt
                out.until = self.now + (SLOT_SECONDS if name.startswith("model:") else PROBE_SECONDS)
        seen.state, seen.granted_at = "granted", self.now
        states = [seen.state for seen in self.attempts.values()]
        open_posts = states.count("granted") + states.count("claimed")
        recent = sum(at > self.now - WINDOW for at, _ in self.answers)
        assert len(states) - states.count("waiting") <= self.limits["max_concurrent"], "slots"
        assert open_posts + recent <= self.limits["per_window"], "a create counts until a window after its answer"
        assert self.gentle is None or open_posts <= self.gentle, "gently, after a 429"
        assert self.budget is None or self.taken() <= self.budget, "the budget"
        assert self.shared_cap is None or self.taken(SHARED) <= self.shared_cap, "the shared budget"

    def claimed(self, attempt: str) -> None:
        """An intent to create."""
        seen = self.attempts[attempt]
        assert not self.stopped and self.now >= self.cooldown_until, "nothing is claimed in a stop or a cooldown"
        seen.state, seen.claimed_at = "claimed", self.now

    def learn(self, state: State) -> list[str]:
        """What a call did besides what its caller was told, each time with a reason that allows it.

        Returns:
            What was claimed for its waiters at once.
        """
        self.left = [state.ticket_of(attempt)[0] for attempt in state.granted.keys() - self.attempts.keys()]
        gone: list[tuple[Seen, bool]] = []
        for attempt, seen in list(self.attempts.items()):
            where = state.where(attempt)
            if seen.state in ("claimed", "created") and where != seen.state:
                assert not where and self.now >= seen.claimed_at + SLOT_SECONDS, "a slot is its prediction's"
                self.settle(seen, seen.price)
                del self.attempts[attempt]
            elif not where:
                lapsed = seen.state == "granted" and self.now >= seen.granted_at + CLAIM_SECONDS
                gone.append((seen, lapsed))
                del self.attempts[attempt]
            elif seen.state == "granted" and where in ("waiting", "claimed"):  # or granted anew, and claimed at once
                assert self.now >= seen.granted_at + CLAIM_SECONDS, "a hand-off is its waiter's for a while"
                seen.state = "waiting"
        fresh = [a for a, seen in self.attempts.items() if seen.state == "waiting" != state.where(a)]
        for attempt in sorted(fresh, key=lambda attempt: self.attempts[attempt].turn):
            self.granted(attempt)
            if state.where(attempt) == "claimed":
                self.claimed(attempt)
        for seen, lapsed in gone:
            may_go = not self.alive(seen.process) or self.stopped or not self.affords(seen.ticket)
            may_go = may_go or self.may_yield(seen)
            assert may_go and (seen.state == "waiting" or lapsed), f"{seen} keeps its place"
        return [attempt for attempt in fresh if self.attempts[attempt].state == "claimed"]

    def nobody_waits_in_vain(self, state: State) -> None:
        """No slot is idle that somebody waits for who would come at once (as far as no lower limit was learned)."""
        open_posts = len(state.granted) + len(state.creating)
        free = (
            not self.stopped
            and self.now >= self.cooldown_until
            and "learned" not in state.limits
            and len(state.slots) < self.limits["max_concurrent"]
            and open_posts + int(state.limits.get("posts", 0)) < self.limits["per_window"]
            and open_posts < int(state.limits.get("ramp", open_posts + 1))
        )
        assert not free or all(
            self.silent(self.attempts[a].process) or self.is_held(self.attempts[a]) for a in self.having("waiting")
        ), "an idle slot"

    def agree_with(self, state: State, processes: list[str]) -> None:
        """Books and Redis tell the same, but for the waiters a dead process left in an older copy."""
        for attempt, seen in self.attempts.items():
            assert state.where(attempt) == seen.state, f"{attempt} is {state.where(attempt)}, not {seen.state}"
        for attempt in state.tickets.keys() - self.attempts.keys():
            assert state.where(attempt) in ("waiting", "granted"), f"{attempt} is {state.where(attempt)}"
            assert state.ticket_of(attempt)[1] not in processes, f"{attempt} was given back"
        spent = sum(int(cost) for name, cost in state.spend.items() if name != "reserved")
        assert spent == self.settled, "each cost is settled once"
        assert int(state.shared.get("spent", 0)) == self.shared_settled
