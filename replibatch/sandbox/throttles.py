"""The forms in which a 429 has named the time to wait, and some that a client must survive."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

THROTTLED = "Request was throttled."
LOW_CREDIT = (
    "Request was throttled. Your rate limit for creating predictions is reduced to 6 requests per minute with a "
    "burst of 1 requests while you have less than $5.0 in credit. Your rate limit resets in ~9s."
)


def _told(detail: str, headers: dict[str, str] | None = None, **more: Any) -> tuple[dict[str, Any], dict[str, str]]:
    return {"detail": detail, "status": 429, **more}, headers or {}


def _in_two_seconds() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)


FORMS: dict[str, Callable[[], tuple[dict[str, Any], dict[str, str]]]] = {
    "429-second": lambda: _told(f"{THROTTLED} Expected available in 1 second."),
    "429-seconds": lambda: _told(f"{THROTTLED} Your rate limit resets in ~30s."),
    "429-body": lambda: _told(f"{THROTTLED} Your rate limit resets in ~30s.", retry_after=5),
    "429-low-credit": lambda: _told(LOW_CREDIT),
    "429-minutes": lambda: _told(f"{THROTTLED} Your rate limit resets in ~2m."),
    "429-hour": lambda: _told(f"{THROTTLED} Expected available in 3600 seconds.", {"Retry-After": "3600"}),
    "429-hours": lambda: _told(f"{THROTTLED} Your rate limit resets in ~1h30m."),
    "429-year": lambda: _told(f"{THROTTLED} Expected available in 31536000 seconds."),
    "429-date": lambda: _told(THROTTLED, {"Retry-After": _in_two_seconds()}),
    "429-fraction": lambda: _told(THROTTLED, {"Retry-After": "1.5"}),
    "429-bare": lambda: _told(THROTTLED),
    "429-zero": lambda: _told(f"{THROTTLED} Expected available in 0 seconds.", {"Retry-After": "0"}),
    "429-negative": lambda: _told(THROTTLED, {"Retry-After": "-5"}, retry_after=-5),
    "429-nan": lambda: _told(THROTTLED, {"Retry-After": "nan"}, retry_after="soon"),
    "429-endless": lambda: _told(f"{THROTTLED} Expected available in {'9' * 400} seconds."),
}
