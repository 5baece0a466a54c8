"""The limiter: one call of one script for each step a prediction takes through the account's limits.

    acquire ──► claimed ──► POST ──► answer(created) ──► … prediction over ──► release
        └─► waiting ──► (handed off) ──► claim ──┘          └─► answer(not created): the slot is free again

Nothing here waits; `WaitingRoom` does. `redisdb/keys.py` describes the keys. A lost state is rebuilt from the
holdings of each process (`holdings.py`) and from the account's own list of predictions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, cast

from redis import Redis

from replibatch.errors import SettingsError, Stop
from replibatch.foreign_text import shown
from replibatch.limits.holdings import Holdings
from replibatch.limits.outages import Fault, Outage
from replibatch.limits.scripts import SCRIPTS
from replibatch.limits.status import AccountStatus
from replibatch.limits.tickets import Beat, Row, Standing, Ticket
from replibatch.money import LARGEST_USD, to_micro
from replibatch.redisdb import keys
from replibatch.redisdb.scripts import Step, run_together
from replibatch.requests import new_id
from replibatch.settings import Settings

CLAIM_SECONDS = 2.0  # a hand-off unclaimed for this long goes to the next in line
POST_SECONDS = 20.0  # the longest a create may take from its claim to its answer
SLOT_MARGIN_SECONDS = 120.0  # after Cancel-After, before a slot is given up without anybody having seen the end
REPORT_SECONDS = 1.0  # a state that was lost is rebuilt once every live process had this long to say what it holds

UNKNOWN_PRICE = -1  # to the scripts


class Limiter:
    """The limits of one account, as one process sees them.

    Args:
        redis: a client of the fleet's Redis.
        settings: the defaults of the limits, the window, the lease.
        process: this process's unique name.
        clock: seconds since the epoch, for tests; None for Redis' own time.

    Attributes:
        holdings: the places this process has, and those it asks for.
    """

    def __init__(
        self, redis: Redis, settings: Settings, process: str, clock: Callable[[], float] | None = None
    ) -> None:
        self.redis = redis
        self.process = process
        self.prefix = settings.key_prefix
        self._clock = clock
        self.holdings = Holdings()
        self._is_new = True  # until the account's state was seen
        slot_seconds = POST_SECONDS + settings.prediction_timeout_seconds + SLOT_MARGIN_SECONDS
        self._config: dict[str, Any] = {
            "window_ms": int(settings.rate_window_seconds * 1000),
            "lease_ms": int(settings.lease_seconds * 1000),
            "claim_ms": int(min(CLAIM_SECONDS, settings.lease_seconds) * 1000),
            "slot_ms": int(slot_seconds * 1000),
            "post_ms": int(POST_SECONDS * 1000),
            "report_ms": int(REPORT_SECONDS * 1000),
            "max_concurrent": settings.global_max_concurrent,
            "per_window": settings.requests_per_minute,
        }
        self._config_json = json.dumps(self._config, separators=(",", ":"))

    @property
    def wake_key(self) -> str:
        """The channel that tells this process of hand-offs."""
        return keys.WAKE.at(self.prefix, self.process)

    @property
    def call_key(self) -> str:
        """The channel that calls all processes to report."""
        return keys.WAKE_ALL.at(self.prefix)

    def acquire(self, ticket: Ticket) -> tuple[Standing, float | None]:
        """Ask for a slot and a place in the window. Returns the standing, and seconds until asking again helps."""
        with self.holdings.asking_for({ticket.attempt_key}):
            standing, again = self._call(
                "acquire",
                **self._identity(ticket),
                price=_price(ticket.price_usd),
                whole=_price(ticket.whole_usd) if ticket.has_steps else None,
                budget=ticket.budget,
                priority=ticket.priority,
                model=ticket.model,
                yields=ticket.yields,
            )
            self.holdings.stands(ticket, Standing(standing))
        return Standing(standing), _seconds(again)

    def claim(self, tickets: Sequence[Ticket]) -> tuple[list[Standing], float | None]:
        """Turn hand-offs into intents to create; a standing each."""
        claims = [(ticket.attempt_key, ticket.fence) for ticket in tickets]
        with self.holdings.asking_for({ticket.attempt_key for ticket in tickets}):
            standings, again = self._call("claim", process=self.process, claims=claims)
            for ticket, standing in zip(tickets, standings, strict=True):
                self.holdings.stands(ticket, Standing(standing))
        return [Standing(standing) for standing in standings], _seconds(again)

    def created_step(self, ticket: Ticket, prediction_id: str) -> Step:
        """The POST was answered with a prediction; the slot is now the prediction's."""
        step = self._answer_step(ticket, created=True, prediction=prediction_id)
        return self._noted(step, lambda: self.holdings.created(ticket, prediction_id))

    def refused_step(self, ticket: Ticket) -> Step:
        """The POST surely created nothing."""
        return self._noted(self._answer_step(ticket, created=False), lambda: self.holdings.let_go(ticket))

    def held_step(self, ticket: Ticket, fault: Fault) -> Step:
        """The POST surely created nothing, for a reason that hits all: the attempt keeps its place in the line."""
        step = self._answer_step(ticket, created=False, requeue=True, fault=fault)
        return self._noted(step, lambda: self.holdings.let_go(ticket))

    def throttled_step(self, ticket: Ticket, retry_after_seconds: float | None) -> Step:
        """The POST was answered with 429: the account cools down, the attempt keeps its place in the line."""
        wait = -1 if retry_after_seconds is None else int(retry_after_seconds * 1000)
        step = self._answer_step(ticket, created=False, requeue=True, throttled=True, retry_after_ms=wait)
        return self._noted(step, lambda: self.holdings.let_go(ticket))

    def released_step(self, ticket: Ticket, cost_usd: float, *, succeeded: bool = False) -> Step:
        """The prediction is over, or the attempt leaves the line: free its slot, settle its cost.

        Args:
            ticket: the attempt's.
            cost_usd: what the prediction cost.
            succeeded: whether it succeeded: then its model works.
        """
        step = self._step("release", **self._identity(ticket), cost=to_micro(cost_usd), succeeded=succeeded)
        return self._noted(step, lambda: self.holdings.let_go(ticket))

    def release(self, ticket: Ticket, cost_usd: float = 0.0) -> None:
        """Free the slot, or leave the line, now."""
        run_together(self.redis, self.released_step(ticket, cost_usd))

    def report_fault(self, fault: Fault, attempt: str = "") -> bool:
        """Report a failure that may hit others too.

        Args:
            fault: what failed.
            attempt: the attempt that met it, or `try:…` for a save; empty for none.

        Returns:
            Whether it is an outage now.
        """
        is_out, _ = self.fault_step(fault, attempt).run(self.redis)
        return bool(is_out)

    def fault_step(self, fault: Fault, attempt: str = "") -> Step:
        """The report of one failure; arguments as of `report_fault`."""
        return self._step("fault", process=self.process, attempt=attempt, fault=fault.as_call(), id=new_id())

    def report_success(self, name: str, *, own: bool = False) -> None:
        """Report that something works: its outage is over, and failures in a row are forgotten.

        Args:
            name: of the outage.
            own: whether this says nothing of the failures of another live process.
        """
        self._call("works", process=self.process, outage=name, own=own)

    def may_try(self, name: str, who: str) -> float:
        """Whether `who` (`try:…`) may try what may be out: 0, or the seconds until it should ask again."""
        return int(self._call("try", outage=name, who=who)) / 1000

    def adopt(self, ticket: Ticket, prediction_id: str | None = None) -> Standing:
        """Make this process the owner of an attempt's place, whatever it is."""
        standing = Standing(self._call("adopt", **self._identity(ticket)))
        self.holdings.stands(ticket, standing, prediction_id or "")
        return standing

    def heartbeat(self, report: dict[str, Any], *, leaving: bool = False) -> Beat:
        """Say that this process lives, and the limits it was explicitly given."""
        known, must_report, handed, again, snapshot, max_concurrent, in_flight, outages = self._call(
            "heartbeat", process=self.process, report=json.dumps(report), leaving=leaving
        )
        self._is_new = self._is_new and not snapshot
        return Beat(
            bool(known), bool(must_report), list(handed), _seconds(again), str(snapshot), int(max_concurrent),
            int(in_flight), frozenset(outages),
        )  # fmt: skip

    def report(self, snapshot: str, waiting: Iterable[str]) -> None:
        """Say what this process holds, for a state that was lost.

        Args:
            snapshot: of its last trusted heartbeat.
            waiting: the attempts its threads wait for; any other it seems to have, it has given back since.
        """
        held, asks = self.holdings.begin_report()
        holds = [
            (one.attempt_key, one.fence, _price(one.price_usd), one.budget, one.priority, prediction, one.model)
            for one, prediction in held
        ]
        try:
            self._call("report", process=self.process, snapshot=snapshot, asks=asks, waits=list(waiting), holds=holds)
        finally:
            missed = self.holdings.end_report()
        # What was answered or given back in the meantime may have come too early to be noted: once more is no harm.
        for step in missed:
            step.run(self.redis)

    def rebuild(self, rows: Iterable[Row]) -> tuple[float | None, list[str]]:
        """Trust a state that was lost again, once every process has reported.

        Args:
            rows: the account's predictions that run, or were created within a window.

        Returns:
            Seconds to wait before listing again, or None when it is done; and the ids of the orphaned
            predictions. Those hold slots in this process's name, to be released with `orphan(id)`.
        """
        wait, orphans = self._call(
            "rebuild",
            process=self.process,
            is_new=self._is_new,
            rows=[(row.id, int(row.runs), max(0, int(row.age_seconds * 1000))) for row in rows],
        )
        for prediction_id in orphans:
            self.holdings.stands(self.orphan(prediction_id), Standing.CREATED, prediction_id)
        return _seconds(wait), list(orphans)

    @staticmethod
    def orphan(prediction_id: str) -> Ticket:
        """The ticket that holds the slot of an orphaned prediction."""
        return Ticket(f"prediction:{prediction_id}", 0, 0.0)

    def alive(self, process: str) -> bool:
        """Whether a process has been heard of within its lease."""
        beat = self.redis.zscore(keys.PROCESSES.at(self.prefix), process)
        seconds, microseconds = self.redis.time()
        now_ms = seconds * 1000 + microseconds // 1000
        return beat is not None and float(beat) > now_ms - self._config["lease_ms"]

    def unanswered(self, older_than_seconds: float) -> list[str]:
        """The attempts with a POST that has been without its answer for so long."""
        seconds, microseconds = self.redis.time()
        latest = seconds * 1000 + microseconds // 1000 - int(older_than_seconds * 1000)
        return cast("list[str]", self.redis.zrangebyscore(keys.CREATING.at(self.prefix), "-inf", latest))

    def pump(self) -> float | None:
        """Grant what time alone has freed. Returns seconds until asking again helps."""
        return _seconds(self._call("pump"))

    def stop(self, why: Stop) -> None:
        """Stop the account: nothing is created until `resume`. What stops it already stays the reason."""
        self._call("stop", kind=why.kind, message=why.message)

    def resume(self, only: str = "", *, forget: bool = False) -> None:
        """Lift a stop, once the token or the credit is in order again.

        Args:
            only: a kind of stop: one of any other kind stays.
            forget: whether to forget the outages, too, and the limits learned from Replicate's refusals.
        """
        self._call("resume", only=only, forget="all" if forget else "")

    def outage(self, name: str) -> Outage | None:
        """The outage of that name; None where it works."""
        return Outage.kept(name, cast("str | None", self.redis.hget(keys.OUTAGES.at(self.prefix), name)))

    def status(self) -> AccountStatus:
        """The account at a glance, counted now."""
        return AccountStatus.parse(self._call("status"))

    def holders(self) -> dict[str, tuple[int, int]]:
        """By process: how many slots it answers for, and how many of its attempts wait in the line."""
        with self.redis.pipeline(transaction=True) as pipeline:
            for place in (keys.SLOTS, keys.WAITERS):
                pipeline.zrange(place.at(self.prefix), 0, -1)
            held, waiting = pipeline.execute()
        counts: dict[str, list[int]] = {}
        for column, attempts in enumerate((held, waiting)):
            tickets = self.redis.hmget(keys.TICKETS.at(self.prefix), attempts) if attempts else []
            for ticket in cast("list[str | None]", tickets):
                if ticket is not None:  # else it has just gone
                    counts.setdefault(ticket.partition("\t")[0], [0, 0])[column] += 1
        return {process: (slots, line) for process, (slots, line) in counts.items()}

    def store_limits(self, changes: dict[str, int | None]) -> None:
        """Set, or with None clear, the operator's `max_concurrent`, `per_window` and `budget` (micro-dollars).

        A changed `per_window` forgets the limit learned for it.
        """
        stored = keys.STORED_LIMITS.at(self.prefix)
        with self.redis.pipeline() as pipeline:
            for name, value in changes.items():
                if value is None:
                    pipeline.hdel(stored, name)
                else:
                    pipeline.hset(stored, name, value)
            pipeline.execute()
        if "per_window" in changes:
            self._call("resume", only="", forget="learned")

    def set_budget(self, budget: str, cap_usd: float | None, *, afresh: bool = False) -> None:
        """Set what a batch, or those that share a budget, may cost; nothing is granted that could go past that.

        Args:
            budget: its name.
            cap_usd: what may be spent, with what was spent before; None for any amount.
            afresh: forget what was spent before.

        Raises:
            SettingsError: the cap is no amount of money.
        """
        if cap_usd is not None:
            _check_usd("max_cost_usd", cap_usd)
        name = keys.BUDGET.at(self.prefix, budget)
        with self.redis.pipeline(transaction=True) as pipeline:
            if cap_usd is None:
                pipeline.hdel(name, "cap")
            else:
                pipeline.hset(name, "cap", to_micro(cap_usd))
            if afresh:
                pipeline.hdel(name, "spent")
            pipeline.persist(name)
            pipeline.execute()

    def _identity(self, ticket: Ticket) -> dict[str, Any]:
        return {"attempt": ticket.attempt_key, "process": self.process, "fence": ticket.fence}

    def _answer_step(
        self,
        ticket: Ticket,
        *,
        created: bool,
        requeue: bool = False,
        throttled: bool = False,
        retry_after_ms: int = -1,
        prediction: str = "",
        fault: Fault | None = None,
    ) -> Step:
        return self._step(
            "answer",
            **self._identity(ticket),
            created=created,
            requeue=requeue,
            throttled=throttled,
            retry_after_ms=retry_after_ms,
            prediction=prediction,
            fault=fault.as_call() if fault else False,
        )

    def _noted(self, step: Step, effect: Callable[[], None]) -> Step:
        """The same step; when it is sent, this process notes what becomes of its holdings."""

        def before(sent: Step) -> None:
            effect()
            self.holdings.note(sent)

        return replace(step, before=before)

    def _step(self, name: str, **call: Any) -> Step:
        config = self._config_json
        if self._clock is not None:
            config = json.dumps({**self._config, "now_ms": int(self._clock() * 1000)})
        return Step(SCRIPTS[name], [self.prefix], (json.dumps(call), config))

    def _call(self, name: str, **call: Any) -> Any:
        return self._step(name, **call).run(self.redis)


def _check_usd(name: str, usd: object) -> None:
    """Refuse a value that is no amount of money.

    Raises:
        SettingsError: it is no number of dollars from 0 to a billion.
    """
    is_number = isinstance(usd, int | float) and not isinstance(usd, bool)
    if not (is_number and 0 <= usd <= LARGEST_USD):  # type: ignore[operator]  # a number, by the first half
        raise SettingsError(f"{name} is {shown(usd)}; allowed: dollars from 0 to {LARGEST_USD:,.0f}")


def _price(usd: float | None) -> int:
    """A ticket's price as the scripts have it."""
    return UNKNOWN_PRICE if usd is None else to_micro(usd)


def _seconds(milliseconds: int) -> float | None:
    return None if milliseconds < 0 else milliseconds / 1000
