"""Ctrl-C, SIGTERM, SIGHUP: the first one asks to end in order, the second one ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # Windows has no SIGHUP


class Interrupts:
    """Counts them while its `with` block lasts; use it in the main thread.

    Args:
        on_first: called in a thread of its own; the second raises KeyboardInterrupt.
    """

    def __init__(self, on_first: Callable[[], object]) -> None:
        self._on_first = on_first
        self._seen = threading.Event()
        self._before: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return self._seen.is_set()

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self:
            raise KeyboardInterrupt
        self._seen.set()
        # Not here: the thread that was interrupted may hold a lock that this needs.
        threading.Thread(target=self._on_first, name="interrupted", daemon=True).start()
