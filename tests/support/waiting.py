"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

DEADLINE_SECONDS = 60.0


def until(condition: Callable[[], object], seconds: float = DEADLINE_SECONDS, what: str = "") -> None:
    """Wait for a condition, and fail after a deadline."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, f"not within {seconds} s: {what or condition}"
        time.sleep(0.02)


def busy_seconds() -> float:
    """How much longer than promised a test lets things take: nothing on a machine that has the time.

    A second for each process more than one that has wanted each processor, on average over the last minute.
    """
    return max(0.0, os.getloadavg()[0] / (os.cpu_count() or 1) - 1.0)
