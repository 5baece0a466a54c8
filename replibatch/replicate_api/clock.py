"""The server's clock: this machine's may be wrong, or be set, and predictions are timed by the server's."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime


class ServerClock:
    """The time as the server's latest answer told it, and what has passed since; this machine's before the first."""

    def __init__(self) -> None:
        self._heard: tuple[datetime, float] | None = None

    def hear(self, date: str | None) -> None:
        """Take the time from an answer's `Date` header, which is whole seconds, rounded down."""
        with suppress(TypeError, ValueError):
            self._heard = parsedate_to_datetime(date or "").astimezone(UTC), time.monotonic()

    def now(self) -> datetime:
        """The time there."""
        if self._heard is None:
            return datetime.now(UTC)
        told, at = self._heard
        return told + timedelta(seconds=time.monotonic() - at)
