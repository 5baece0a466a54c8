"""The gate: one call of one script for each step a prediction takes through the account's limits.

    acquire ──► claimed ──► POST ──► answer(created) ──► … prediction over ──► release
        └─► waiting ──► (handed off) ──► claim ──┘          └─► answer(not created): the slot is free again

Nothing here waits; `Gatekeeper` does. `lua/gate.lua` describes the keys. The gate remembers what its process holds: a
state that was lost is rebuilt from that, and from the account's own list of predictions.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from redis import Redis

from replibatch.scripts import Script, Step, run_together
from replibatch.settings import Settings

MINUTE_MS = 60_000
MICRO = 1_000_000  # money is counted in whole micro-dollars
CLAIM_SECONDS = 2.0  # a hand-off nobody claims for this long goes to the next in line
POST_SECONDS = 20.0  # the longest a create may take from its claim to its answer
SLOT_MARGIN_SECONDS = 120.0  # after Cancel-After, before a slot is given up without anybody having seen the end
REPORT_SECONDS = 1.0  # a state that was lost is rebuilt once every live process had this long to say what it holds

_PACKAGE = "replibatch.limits"
_SCRIPTS = {
    name: Script(_PACKAGE, "gate", name)
    for name in (
        "acquire",
        "claim",
        "answer",
        "release",
        "adopt",
        "heartbeat",
        "report",
        "rebuild",
        "pump",
        "stop",
        "resume",
        "status",
    )
}
_READ = Script(_PACKAGE, "read")


class Standing(StrEnum):
    """Where an attempt stands at the gate."""

    CLAIMED = "claimed"  # the caller may send its POST, now
    CREATED = "created"  # it holds a slot, and its prediction was created
    WAITING = "waiting"
    UNSETTLED = "unsettled"  # taken over with its POST unanswered: find out first
    STOPPED = "stopped"  # the account is stopped (token, credit)
    UNAFFORDABLE = "unaffordable"  # its price does not fit a budget
    FENCED = "fenced"  # a later owner has it
    GRANTED = "granted"  # handed off, not yet claimed
    UNKNOWN = "unknown"  # neither waits nor holds
    WITHDRAWN = "withdrawn"  # its process is draining


@dataclass(frozen=True)
class Ticket:
    """What an attempt brings to the gate.

    Attributes:
        attempt: `generation:number`, the holder of the slot.
        fence: the custody's fencing number; a later one wins.
        price_usd: reserved with the slot, settled when it is released.
        purse: the batch whose budget it also draws on; empty for none.
        priority: 0 is first.
    """

    attempt: str
    fence: int
    price_usd: float
    purse: str = ""
    priority: int = 5


class Beat(NamedTuple):
    """What a heartbeat learns.

    Attributes:
        known: whether the process was alive to the others until now.
        must_report: whether the account's state was lost, and the process must say what it holds.
        unclaimed: its hand-offs not yet claimed.
        again_seconds: until asking again helps, if time will.
        keepsake: to be handed back with a report; empty while the state is not trusted.
        max_concurrent: the limit in force.
    """

    known: bool
    must_report: bool
    unclaimed: list[str]
    again_seconds: float | None
    keepsake: str
    max_concurrent: int


class Row(NamedTuple):
    """A prediction of the account's own list.

    Attributes:
        id: Replicate's.
        runs: whether it is not over.
        age_seconds: since its creation.
    """

    id: str
    runs: bool
    age_seconds: float


class Gate:
    """The limits of one account, as one process sees them.

    Args:
        redis: a client of the fleet's Redis.
        settings: the defaults of the limits, the window, the lease.
        process: this process's unique name.
        clock: seconds since the epoch, for tests; None for Redis' own time.
    """

    def __init__(
        self, redis: Redis, settings: Settings, process: str, clock: Callable[[], float] | None = None
    ) -> None:
        self.redis = redis
        self.process = process
        self.prefix = f"rb:{settings.account_key}:"
        self._clock = clock
        self._held: dict[str, tuple[Ticket, str]] = {}  # with the prediction, once there is one
        self._asking: set[str] = set()
        self._since_report: list[Step] | None = None  # answers and releases, while a report is under way
        self._memory = threading.Lock()
        self._reads_per_minute = settings.reads_per_minute
        self._keys = [
            self.prefix + name
            for name in (
                "slots", "granted", "creating", "window", "waiters", "tickets", "limits", "processes", "spend",
                "reports", "limits:stored",
            )
        ]  # fmt: skip
        slot_seconds = POST_SECONDS + settings.prediction_timeout_seconds + SLOT_MARGIN_SECONDS
        self._config: dict[str, Any] = {
            "prefix": self.prefix,
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
        """The channel this process is told of hand-offs through."""
        return f"{self.prefix}wake:{self.process}"

    @property
    def call_key(self) -> str:
        """The channel all processes are called to report through."""
        return f"{self.prefix}wake"

    def acquire(self, ticket: Ticket) -> tuple[Standing, float | None]:
        """Ask for a slot and a place in the window. Returns the standing, and seconds until asking again helps."""
        with self._asking_for({ticket.attempt}):
            standing, again = self._call(
                "acquire",
                **self._identity(ticket),
                price=_micro(ticket.price_usd),
                purse=ticket.purse,
                priority=ticket.priority,
            )
            self._remember(ticket, Standing(standing))
        return Standing(standing), _seconds(again)

    def claim(self, tickets: Sequence[Ticket]) -> tuple[list[Standing], float | None]:
        """Turn hand-offs into intents to create; a standing each."""
        claims = [(ticket.attempt, ticket.fence) for ticket in tickets]
        with self._asking_for({ticket.attempt for ticket in tickets}):
            standings, again = self._call("claim", process=self.process, claims=claims)
            for ticket, standing in zip(tickets, standings, strict=True):
                self._remember(ticket, Standing(standing))
        return [Standing(standing) for standing in standings], _seconds(again)

    def created(self, ticket: Ticket, prediction_id: str) -> Step:
        """The POST was answered with a prediction; the slot is now the prediction's."""
        with self._memory:
            if ticket.attempt in self._held:  # or it was given up here, and is another's
                self._held[ticket.attempt] = ticket, prediction_id
        return self._answer(ticket, created=True, prediction=prediction_id)

    def refused(self, ticket: Ticket) -> Step:
        """The POST surely created nothing."""
        self._let_go(ticket)
        return self._answer(ticket, created=False)

    def throttled(self, ticket: Ticket, retry_after_seconds: float | None) -> Step:
        """The POST was answered with 429: the account cools down, the attempt keeps its place in the line."""
        self._let_go(ticket)
        wait = -1 if retry_after_seconds is None else int(retry_after_seconds * 1000)
        return self._answer(ticket, created=False, requeue=True, throttled=True, retry_after_ms=wait)

    def released(self, ticket: Ticket, cost_usd: float) -> Step:
        """The prediction is over, or the attempt leaves the line: free its slot, settle its cost."""
        self._let_go(ticket)
        return self._step("release", **self._identity(ticket), cost=_micro(cost_usd))

    def adopt(self, attempt: str, fence: int, prediction_id: str | None = None) -> Standing:
        """Make this process the owner of an attempt's place, whatever it is."""
        standing = Standing(self._call("adopt", attempt=attempt, process=self.process, fence=fence))
        self._remember(Ticket(attempt, fence, 0.0), standing, prediction_id or "")
        return standing

    def heartbeat(self, report: dict[str, Any], *, leaving: bool = False) -> Beat:
        """Say that this process lives, and the limits it was explicitly given."""
        known, must_report, unclaimed, again, keepsake, max_concurrent = self._call(
            "heartbeat", process=self.process, report=json.dumps(report), leaving=leaving
        )
        return Beat(
            bool(known), bool(must_report), list(unclaimed), _seconds(again), str(keepsake), int(max_concurrent)
        )

    def report(self, keepsake: str) -> None:
        """Say what this process holds, for a state that was lost; `keepsake` is of its last trusted heartbeat."""
        with self._memory:
            held = list(self._held.values())
            knows = [*self._held, *self._asking]
            self._since_report = []
        holds = [
            (ticket.attempt, ticket.fence, _micro(ticket.price_usd), ticket.purse, ticket.priority, prediction)
            for ticket, prediction in held
        ]
        try:
            self._call("report", process=self.process, keepsake=keepsake, knows=knows, holds=holds)
        finally:
            with self._memory:
                missed, self._since_report = self._since_report, None
        # What was answered or given back in the meantime may have come too early to be noted: once more is no harm.
        for step in missed:
            run_together(self.redis, step)

    def rebuild(self, rows: Iterable[Row]) -> tuple[float | None, list[str]]:
        """Trust a state that was lost again, once every process has reported.

        Args:
            rows: the account's predictions that run, or were created within a window.

        Returns:
            Seconds to wait before listing again, or None when it is done; and the ids of the predictions nobody
            answers for. Those hold slots in this process's name, to be released with `orphan(id)`.
        """
        wait, orphans = self._call(
            "rebuild",
            process=self.process,
            rows=[(row.id, int(row.runs), max(0, int(row.age_seconds * 1000))) for row in rows],
        )
        for prediction_id in orphans:
            self._remember(self.orphan(prediction_id), Standing.CREATED, prediction_id)
        return _seconds(wait), list(orphans)

    @staticmethod
    def orphan(prediction_id: str) -> Ticket:
        """What holds the slot of a prediction nobody answers for."""
        return Ticket(f"prediction:{prediction_id}", 0, 0.0)

    def alive(self, process: str) -> bool:
        """Whether a process has been heard of within its lease."""
        beat = self.redis.zscore(self._keys[7], process)
        seconds, microseconds = self.redis.time()
        now_ms = seconds * 1000 + microseconds // 1000
        return beat is not None and float(beat) > now_ms - self._config["lease_ms"]

    def pump(self) -> float | None:
        """Grant what time alone has freed. Returns seconds until asking again helps."""
        return _seconds(self._call("pump"))

    def stop(self, why: str) -> None:
        """Stop the account: nothing is created until `resume`."""
        self._call("stop", why=why)

    def resume(self) -> None:
        """Lift a stop, once the token or the credit is mended."""
        self._call("resume")

    def status(self) -> dict[str, Any]:
        """The account at a glance, counted now (see `lua/status.lua`)."""
        snapshot: dict[str, Any] = json.loads(self._call("status"))
        return snapshot

    def store_limits(self, changes: dict[str, int | None]) -> None:
        """Set, or with None clear, the operator's `max_concurrent`, `per_window` and `budget` (micro-dollars)."""
        with self.redis.pipeline() as pipeline:
            for name, value in changes.items():
                if value is None:
                    pipeline.hdel(self._keys[10], name)
                else:
                    pipeline.hset(self._keys[10], name, value)
            pipeline.execute()

    def fill_purse(self, purse: str, cap_usd: float) -> None:
        """Set what a batch may cost; nothing of it is granted that could take it past that."""
        self.redis.hset(f"{self.prefix}purse:{purse}", "cap", round(cap_usd * MICRO))

    def await_read(self) -> None:
        """Wait until the account may make one more read of the API, and count it."""
        args = (MINUTE_MS, self._reads_per_minute)
        while wait_ms := int(_READ(self.redis, [self.prefix + "reads"], args)):
            time.sleep(wait_ms / 1000)

    def _identity(self, ticket: Ticket) -> dict[str, Any]:
        return {"attempt": ticket.attempt, "process": self.process, "fence": ticket.fence}

    def _answer(
        self,
        ticket: Ticket,
        *,
        created: bool,
        requeue: bool = False,
        throttled: bool = False,
        retry_after_ms: int = -1,
        prediction: str = "",
    ) -> Step:
        return self._step(
            "answer",
            **self._identity(ticket),
            created=created,
            requeue=requeue,
            throttled=throttled,
            retry_after_ms=retry_after_ms,
            prediction=prediction,
        )

    @contextmanager
    def _asking_for(self, attempts: set[str]) -> Iterator[None]:
        """What is being asked for may be granted already, and its answer under way."""
        with self._memory:
            self._asking |= attempts
        try:
            yield
        finally:
            with self._memory:
                self._asking -= attempts

    def _remember(self, ticket: Ticket, standing: Standing, prediction_id: str = "") -> None:
        if standing in (Standing.CLAIMED, Standing.UNSETTLED, Standing.CREATED):
            with self._memory:
                self._held[ticket.attempt] = ticket, prediction_id

    def _let_go(self, ticket: Ticket) -> None:
        with self._memory:
            self._held.pop(ticket.attempt, None)

    def _step(self, name: str, **call: Any) -> Step:
        config = self._config_json
        if self._clock is not None:
            config = json.dumps({**self._config, "now_ms": int(self._clock() * 1000)})
        step = _SCRIPTS[name], self._keys, (config, json.dumps(call))
        if name in ("answer", "release"):
            with self._memory:
                if self._since_report is not None:
                    self._since_report.append(step)
        return step

    def _call(self, name: str, **call: Any) -> Any:
        script, keys, args = self._step(name, **call)
        return script(self.redis, keys, args)


def _micro(usd: float) -> int:
    return round(usd * MICRO)


def _seconds(milliseconds: int) -> float | None:
    return None if milliseconds < 0 else milliseconds / 1000
