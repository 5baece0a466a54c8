"""The line of the caller's own code that a warning is about."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from types import FrameType
from typing import Any

from replibatch.errors import ReplibatchWarning

LIBRARIES = ("replibatch", "asyncio", "concurrent", "threading")


class Caller:
    """The place outside this package that a call came from. Make it in the caller's own thread."""

    def __init__(self) -> None:
        frame: FrameType = sys._getframe(1)
        while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in LIBRARIES:
            frame = frame.f_back
        self._file = frame.f_code.co_filename
        self._line = frame.f_lineno
        self._globals: dict[str, Any] = frame.f_globals
        self._warned: set[str] = set()

    def warn(self, messages: Iterable[str]) -> None:
        """Warn of each, once a call."""
        for message in messages:
            if message not in self._warned:
                self._warned.add(message)
                warnings.warn_explicit(
                    message,
                    ReplibatchWarning,
                    self._file,
                    self._line,
                    module=self._globals.get("__name__"),
                    registry=self._globals.setdefault("__warningregistry__", {}),
                )
