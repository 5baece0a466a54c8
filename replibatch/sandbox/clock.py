"""The stand-in's clock: Unix seconds that never step, whatever happens to the machine's wall clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime

_OFFSET_SECONDS = time.time() - time.monotonic()


def now() -> float:
    """The time in Unix seconds, in whole microseconds: comparisons use exactly the value that the API shows."""
    return round(time.monotonic() + _OFFSET_SECONDS, 6)


def iso(at: float | None) -> str | None:
    """Unix seconds as the API's list writes them, `2026-11-20T12:00:00.123456Z`; None stays None."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def iso_nanoseconds(at: float | None, nanoseconds: int = 0) -> str | None:
    """Unix seconds as a create's reply writes them: nine digits without zeros at the end; None stays None.

    Args:
        at: in whole microseconds.
        nanoseconds: what to add to it, below 1,000.
    """
    if at is None:
        return None
    digits = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S.%f}{nanoseconds:03}"
    return digits.rstrip("0").rstrip(".") + "Z"
