"""Where people read: what goes on, and what they asked for."""

from __future__ import annotations

from rich.console import Console


def stderr() -> Console:
    """Where people read what goes on. Colours are off where NO_COLOR says so, or it is no terminal."""
    return Console(stderr=True, highlight=False, soft_wrap=False)


def stdout() -> Console:
    """Where people read an answer."""
    return Console(highlight=False)
