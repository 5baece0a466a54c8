"""Whether this process is alive to the others, as far as it can know: by the heartbeats that were confirmed."""

from __future__ import annotations

import time


class Heartbeat:
    """The heartbeats of one process; moments are the monotonic clock's.

    Args:
        lease_seconds: a process silent for this long is taken for dead.
    """

    def __init__(self, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._last_beat = float("-inf")
        self._steady_since = float("inf")

    def confirm(self, sent_at: float) -> None:
        """A heartbeat that was sent at a moment has just been confirmed."""
        confirmed_at = time.monotonic()
        # The process may have stood still before the call, or within it: a gap to the others, either way.
        if confirmed_at - self._last_beat > self._lease_seconds:
            self._steady_since = confirmed_at
        self._last_beat = sent_at

    def lived_since(self, moment: float) -> bool:
        """Whether no process can have taken this one for dead since a moment: only then may a POST be sent."""
        return self._is_fresh and self._steady_since <= moment

    @property
    def is_steady(self) -> bool:
        """Whether heartbeats have arrived for a full lease without a gap: only then may others be called dead."""
        return self._is_fresh and time.monotonic() - self._steady_since >= self._lease_seconds

    @property
    def _is_fresh(self) -> bool:
        return time.monotonic() - self._last_beat < self._lease_seconds
