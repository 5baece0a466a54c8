"""The threads that run as long as a worker process does: each repeats one step, and no failed step ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

AWAY_SECONDS = 0.5  # before the next step, where Redis was away or a step failed

log = structlog.get_logger(__name__)


class Loop:
    """A thread that repeats a step until it is stopped.

    Args:
        name: the thread's name.
        step: one step; returns the seconds to pause before the next one. None ends the loop.
        wake: ends a wait inside the step, so that the loop can stop.
        away_seconds: the pause after a step that failed.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], float | None],
        *,
        wake: Callable[[], object] | None = None,
        away_seconds: float = AWAY_SECONDS,
    ) -> None:
        self._step = step
        self._wake = wake
        self._away_seconds = away_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def stopping(self) -> bool:
        """Whether a stop was requested."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, wait_seconds: float = 0.0) -> None:
        """Stop after the current step.

        Args:
            wait_seconds: how long to wait for that step.
        """
        self._stopping.set()
        if self._wake:
            self._wake()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(wait_seconds)

    def _run(self) -> None:
        pause_seconds: float | None = 0.0
        while pause_seconds is not None and not self._stopping.wait(pause_seconds):
            try:
                pause_seconds = self._step()
            except (RedisError, OperationalError) as error:
                log.warning("redis is away", thread=self._thread.name, error=str(error))
                pause_seconds = self._away_seconds
            except Exception:  # the next step may succeed
                log.exception("unexpected", thread=self._thread.name)
                pause_seconds = self._away_seconds
