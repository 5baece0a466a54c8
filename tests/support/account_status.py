"""An account's status with nothing going on, but for what a test names."""

from __future__ import annotations

from typing import Any

from replibatch.limits import AccountStatus


def account_status(**changes: Any) -> AccountStatus:
    """An idle account of 60 slots and 600 creates a minute."""
    idle: dict[str, Any] = {
        "max_concurrent": 60,
        "per_window": 600,
        "learned_per_window": None,
        "budget_usd": None,
        "stored": {},
        "in_flight": 0,
        "creating": 0,
        "in_window": 0,
        "waiting": 0,
        "waiting_for": None,
        "waited_seconds": {},
        "reads": 0,
        "cooling_down_seconds": 0.0,
        "stop": None,
        "outages": (),
        "outages_so_far": 0,
        "spent_usd": 0.0,
        "reserved_usd": 0.0,
        "total": 0,
        "throttled": 0,
        "peak": 0,
        "processes": {},
        "silent_seconds": {},
    }
    return AccountStatus(**{**idle, **changes})
