"""Where people read: what goes on, and what they asked for. Whatever acts on a terminal is of our own making."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import TextIO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from replibatch.foreign_text import visible


def stderr() -> Console:
    """Where people read what goes on. Colours are off where NO_COLOR says so, or it is no terminal."""
    return _Console(file=_raw(sys.stderr), highlight=False, soft_wrap=False)


def stdout() -> Console:
    """Where people read an answer."""
    return _Console(file=_raw(sys.stdout), highlight=False)


@contextmanager
def guarded() -> Iterator[None]:
    """As long as the `with` block lasts, what is written to stdout and stderr as text shows control characters."""
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


class _Console(Console):
    """Rich's console; the colours and movements are its own, the text is not."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or (text := visible(segment.text)) == segment.text:
                yield segment
            else:
                yield Segment(text, segment.style)


def _raw(stream: TextIO) -> TextIO:
    return stream.guarded if isinstance(stream, _Guard) else stream
