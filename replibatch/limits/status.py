"""The account at a glance, as `Limiter.status` reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

from replibatch.errors import Stop
from replibatch.limits.outages import Outage
from replibatch.money import to_usd


@dataclass(frozen=True)
class AccountStatus:
    """The limits of an account, their present use, and the reason why the next create waits.

    Attributes:
        max_concurrent: predictions that may be in flight.
        per_window: creates that a window may have, as configured; `learned_per_window` how many Replicate
            lets through instead, None where it lets all through.
        budget_usd: of the calendar month; None for none.
        stored: the limits that `limits set` keeps, by name, in the limiter's units.
        in_flight: slots held.
        creating: of those, without an answer to their create.
        in_window: creates that count against `per_window` now.
        waiting: attempts in the line.
        waiting_for: what keeps the first in line waiting; None where none waits.
        waited_seconds: by cause, over all attempts so far.
        reads: requests of the last minute that created nothing.
        cooling_down_seconds: the rest of the pause Replicate asked for.
        stop: why nothing is created until `resume`; None where nothing is stopped.
        outages: the present outages, which hold work until they end; `outages_so_far` how many there have been.
        spent_usd: in this calendar month.
        reserved_usd: for the predictions in flight.
        total: creates so far; `throttled` of those answered with 429.
        peak: the most slots held at once.
        processes: what each live process says of itself, by name.
        silent_seconds: since each process's last heartbeat.
    """

    max_concurrent: int
    per_window: int
    learned_per_window: int | None
    budget_usd: float | None
    stored: Mapping[str, int]
    in_flight: int
    creating: int
    in_window: int
    waiting: int
    waiting_for: str | None
    waited_seconds: Mapping[str, float]
    reads: int
    cooling_down_seconds: float
    stop: Stop | None
    outages: tuple[Outage, ...]
    outages_so_far: int
    spent_usd: float
    reserved_usd: float
    total: int
    throttled: int
    peak: int
    processes: Mapping[str, Mapping[str, Any]]
    silent_seconds: Mapping[str, float]

    @classmethod
    def parse(cls, text: str) -> Self:
        """From the reply of `lua/status.lua`, where an empty object may be an empty list."""
        now: dict[str, Any] = json.loads(text)
        stop = now.get("stop")
        return cls(
            max_concurrent=now["max_concurrent"],
            per_window=now["per_window"],
            learned_per_window=now.get("learned_per_window"),
            budget_usd=None if now.get("budget") is None else to_usd(now["budget"]),
            stored=now["stored"] or {},
            in_flight=now["in_flight"],
            creating=now["creating"],
            in_window=now["in_window"],
            waiting=now["waiting"],
            waiting_for=now.get("waiting_for"),
            waited_seconds={cause: ms / 1000 for cause, ms in (now["waited_ms"] or {}).items()},
            reads=now["reads"],
            cooling_down_seconds=now["cooling_down_ms"] / 1000,
            stop=Stop(*map(str, stop)) if stop else None,
            outages=tuple(
                sorted(
                    (
                        Outage(name, kind, str(message), ms / 1000, int(count), since_ms / 1000)
                        for name, kind, message, ms, count, since_ms in now["outages"]
                    ),
                    key=lambda outage: outage.name,
                )
            ),
            outages_so_far=now["outages_so_far"],
            spent_usd=to_usd(now["spent"]),
            reserved_usd=to_usd(now["reserved"]),
            total=now["total"],
            throttled=now["throttled"],
            peak=now["peak"],
            processes=now["processes"] or {},
            silent_seconds={name: ms / 1000 for name, ms in (now["beats_ms"] or {}).items()},
        )

    @property
    def workers(self) -> list[str]:
        """The live worker processes, by name; producers report no process id."""
        return sorted(name for name, report in self.processes.items() if "pid" in report)

    def source(self, limit: str, own: Mapping[str, Any] = MappingProxyType({})) -> str:
        """Who set a limit: `limits set`, a live process by its name, `this process`, or `default`.

        Args:
            limit: `max_concurrent`, `per_window` or `budget`.
            own: the limits this process was given, which hold where no other has a say.
        """
        if self.stored.get(limit) is not None:
            return "limits set"
        given = {name: report[limit] for name, report in self.processes.items() if report.get(limit) is not None}
        if given:
            return min(given, key=lambda name: (given[name], name))
        return "this process" if limit in own and limit != "budget" else "default"
