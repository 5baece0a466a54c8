"""The options that `run` and `submit` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]

_SHARED = (
    click.argument("file", metavar="FILE"),
    click.option("-m", "--model", metavar="MODEL", help="For lines that name no model."),
    click.option(
        "-o",
        "--output",
        type=click.Path(file_okay=False, path_type=Path),
        required=True,
        metavar="DIR",
        help="The folder for the files.",
    ),
    click.option(
        "--max-concurrent", type=click.IntRange(min=1), metavar="N", help="The most of it in flight at a time."
    ),
    click.option(
        "-i", "--input", "inputs", multiple=True, metavar="KEY=VALUE", help="A model input, for lines without it."
    ),
    click.option(
        "--max-cost",
        type=click.FloatRange(min=0),
        metavar="USD",
        help="Nothing is started that could take the cost past this.",
    ),
    click.option("--no-fallback", is_flag=True, help="No other model stands in for one that fails."),
    click.option("--fresh", is_flag=True, help="Make everything again, what succeeded before too."),
)


def shared(command: Command) -> Command:
    """FILE and the options that say what is made of it."""
    for option in reversed(_SHARED):
        command = option(command)
    return command
