"""Durations as the API's headers write them."""

from __future__ import annotations

import re

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")
LONGEST_WAIT_SECONDS = 60


def cancel_after_seconds(text: str) -> float | None:
    """The seconds of a `Cancel-After`: `30s`, `5m`, `1h30m45s`, `30`; None for any other text."""
    match = _DURATION.fullmatch(text.strip())
    if not match or not any(match.groups()):
        return None
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return 3600.0 * hours + 60.0 * minutes + seconds


def wait_seconds(prefer: str) -> float:
    """The seconds a `Prefer` header asks the reply to be held: 0 without `wait`, 60 without a number, 60 at most."""
    for preference in prefer.split(","):
        name, _, value = preference.strip().partition("=")
        if name == "wait":
            return min(float(value) if value.isdigit() else LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS)
    return 0.0
