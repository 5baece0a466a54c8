"""The account's status under the names of `get_global_status`."""

from __future__ import annotations

from typing import Any

from replibatch.limits import AccountStatus


def global_status(now: AccountStatus) -> dict[str, Any]:
    """The account as the whole fleet sees it; money in dollars."""
    limit, busy = now.max_concurrent, now.in_flight
    return {
        "global_max_concurrent": limit,
        "current_concurrent": busy,
        "available_slots": max(0, limit - busy),
        "utilization_percentage": round(100 * busy / limit, 1),
        "requests_in_window": now.in_window,
        "requests_per_minute": now.per_window,
        "waiting": now.waiting,
        "cooling_down_seconds": now.cooling_down_seconds,
        "total_requests": now.total,
        "max_concurrent_reached": now.peak,
        "spent_usd": now.spent_usd,
    }
