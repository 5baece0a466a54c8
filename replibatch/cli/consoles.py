"""Where people read: what goes on, and what they asked for. Whatever acts on a terminal is of our own making."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from replibatch.cli.guarded_streams import raw
from replibatch.foreign_text import visible


def stderr() -> Console:
    """Where people read what goes on. Colours are off where NO_COLOR says so, or it is no terminal."""
    return _Console(file=raw(sys.stderr), highlight=False, soft_wrap=False)


def stdout() -> Console:
    """Where people read an answer."""
    return _Console(file=raw(sys.stdout), highlight=False)


class _Console(Console):
    """Rich's console; the colours and movements are its own, the text is not."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or (text := visible(segment.text)) == segment.text:
                yield segment
            else:
                yield Segment(text, segment.style)
