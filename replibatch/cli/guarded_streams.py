"""stdout and stderr that show what would act on a terminal; rich's consoles do so themselves."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import TextIO, cast

from replibatch.foreign_text import visible


@contextmanager
def guarded() -> Iterator[None]:
    """Within the `with` block, text written to stdout and stderr shows its control characters visibly."""
    before = sys.stdout, sys.stderr
    guards = [_Guard(stream) if hasattr(stream, "buffer") else stream for stream in before]
    sys.stdout, sys.stderr = cast("list[TextIO]", guards)
    try:
        yield
    finally:
        for guard in guards:
            if isinstance(guard, _Guard):
                guard.leave()
        sys.stdout, sys.stderr = before


class _Guard(TextIOWrapper):
    """A text stream over the same bytes as another."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(
            stream.buffer,
            encoding=stream.encoding,
            errors=stream.errors,
            newline="\n" if sys.platform != "win32" else None,
            line_buffering=True,
            write_through=True,
        )
        self.guarded = stream

    def write(self, text: str) -> int:
        self.guarded.flush()
        super().write(visible(text))
        return len(text)

    def leave(self) -> None:
        """Let go of the stream, which stays open."""
        self.flush()
        self.detach()


def raw(stream: TextIO) -> TextIO:
    """The stream beneath the guard, for what makes control characters of its own."""
    return stream.guarded if isinstance(stream, _Guard) else stream
