"""The speed of downloads: those that trickle get a small share of the connections, and an end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SLOW_CONNECTIONS = 5  # more than those for all, in each process
LOOK_SECONDS = 5.0  # a speed is that of so long
SLOW_BYTES_PER_SECOND = 32 * 1024  # below this a download is slow
SLOWEST_BYTES_PER_SECOND = 256  # below this it is as good as stopped
PATIENCE_SECONDS = 60.0  # with one that is as good as stopped
SLOW_SECONDS = 1800.0  # with one that is slow, its wait for a place among the slow ones included


class TooSlow(Exception):
    """A download is not worth its connection."""


class Pace:
    """How fast one answer comes."""

    def __init__(self) -> None:
        self._began = self._looked = time.monotonic()
        self._all_bytes = 0
        self._bytes = 0

    def count(self, bytes_: int) -> float | None:
        """Count what came; returns the bytes a second since the last measurement, None while there is none.

        Raises:
            TooSlow: on the whole it hardly moves.
        """
        self._bytes += bytes_
        self._all_bytes += bytes_
        now = time.monotonic()
        whole = now - self._began
        if whole > PATIENCE_SECONDS and self._all_bytes / whole < SLOWEST_BYTES_PER_SECOND:
            raise TooSlow(f"{self._all_bytes:,} bytes in {whole:.0f} s are too slow")
        seconds = now - self._looked
        if seconds < LOOK_SECONDS:
            return None
        speed, self._bytes, self._looked = self._bytes / seconds, 0, now
        return speed


class Lanes:
    """The connections of one process.

    Args:
        connections: downloads under way at a time.
        slow: how many more, for those that are slow.
        closed: set when all downloads end.
    """

    def __init__(self, connections: int, slow: int, closed: threading.Event) -> None:
        self.normal = threading.BoundedSemaphore(connections)
        self.slow = threading.BoundedSemaphore(slow)
        self.closed = closed

    @contextmanager
    def entered(self) -> Iterator[Lane]:
        """A place among all, as long as the `with` block lasts."""
        lane = Lane(self)
        try:
            yield lane
        finally:
            lane.leave()


class Lane:
    """Where one download goes: among all, or among the slow ones."""

    def __init__(self, lanes: Lanes) -> None:
        lanes.normal.acquire()
        self._lanes = lanes
        self._held: threading.BoundedSemaphore | None = lanes.normal
        self._slow_since = 0.0

    def keep_up(self, pace: Pace, bytes_: int) -> None:
        """Count what came, and change lanes where the speed asks for it. May wait.

        Raises:
            TooSlow: it is slow for too long.
        """
        speed = pace.count(bytes_)
        if speed is None:
            return
        if speed < SLOW_BYTES_PER_SECOND and not self._slow_since:
            self._slow_since = time.monotonic()
            self._wait_among_the_slow()
        if self._slow_since and time.monotonic() > self._slow_since + SLOW_SECONDS:
            raise TooSlow(f"below {SLOW_BYTES_PER_SECOND // 1024} KB/s for {SLOW_SECONDS:.0f} s")

    def leave(self) -> None:
        """The download is over."""
        if self._held:
            self._held.release()
            self._held = None

    def _wait_among_the_slow(self) -> None:
        """Give the place among all to others."""
        self.leave()
        while not self._lanes.slow.acquire(timeout=0.5):
            if self._lanes.closed.is_set() or time.monotonic() > self._slow_since + SLOW_SECONDS:
                raise TooSlow("too many downloads are slow")
        self._held = self._lanes.slow
