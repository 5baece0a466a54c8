"""What `Limiter.status` tells, read: who works, and who set a limit."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


def workers_of(now: dict[str, Any]) -> list[str]:
    """The live worker processes of `Limiter.status`, by name; producers report no process id."""
    return sorted(name for name, report in now["processes"].items() if "pid" in report)


def source(now: dict[str, Any], limit: str, own: Mapping[str, Any] = MappingProxyType({})) -> str:
    """Who set a limit: `limits set`, a live process by its name, `this process`, or `default`.

    Args:
        now: from `Limiter.status`.
        limit: `max_concurrent`, `per_window` or `budget`.
        own: the limits this process was given, which hold where no other has a say.
    """
    if now["stored"].get(limit) is not None:
        return "limits set"
    given = {name: report[limit] for name, report in now["processes"].items() if report.get(limit) is not None}
    if given:
        return str(min(given, key=lambda name: (given[name], name)))
    return "this process" if limit in own and limit != "budget" else "default"
