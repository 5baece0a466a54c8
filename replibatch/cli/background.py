"""Work beside the main thread; its failure is raised in the main thread."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background:
    """Calls `work` in a daemon thread, which does not keep the process from ending.

    Args:
        work: called once.
        name: of the thread.
    """

    def __init__(self, work: Callable[[], object], name: str) -> None:
        self._work = work
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for its end, and raise what it raised."""
        self._thread.join()
        if self._error:
            raise self._error

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001  # raised again by `join`
            self._error = error
