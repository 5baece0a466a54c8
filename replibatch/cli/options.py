"""Options that several commands have, and the type of an amount of money."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click

from replibatch.requests import OnOutage

METADATA = ("none", "source", "full")

Command = Callable[..., Any]

LARGEST_USD = 1e9


class Dollars(click.FloatRange):
    """An amount of money: from 0 up, neither `inf` nor `nan`, which compares with no bound."""

    def __init__(self) -> None:
        super().__init__(0, LARGEST_USD)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        amount = float(super().convert(value, param, ctx))
        if math.isnan(amount):
            self.fail(f"{value!r} is no amount", param, ctx)
        return amount


log_format = click.option(
    "--log-format",
    type=click.Choice(["lines", "json"]),
    default="lines",
    show_default=True,
    help="Lines for people, or one JSON object a line.",
)


def _set_metadata(ctx: click.Context, param: click.Parameter, value: str | None) -> None:  # noqa: ARG001  # click's shape
    """The option is the setting, for this process and the worker it brings along."""
    if value is not None:
        os.environ["REPLIBATCH_METADATA"] = value


_SHARED = (
    click.argument("files", metavar="FILE...", nargs=-1, required=True),
    click.option(
        "-o",
        "--output",
        type=click.Path(file_okay=False, path_type=Path),
        required=True,
        metavar="DIR",
        help="The folder for the files.",
    ),
    click.option(
        "--max-concurrent", type=click.IntRange(min=1), metavar="N", help="The most items in flight at a time."
    ),
    click.option(
        "--max-cost",
        type=Dollars(),
        metavar="USD",
        help="Start no item that could take the cost of this list past this, earlier runs included.",
    ),
    click.option(
        "--metadata",
        type=click.Choice(METADATA),
        expose_value=False,
        callback=_set_metadata,
        help="Metadata to write into finished files, as XMP; otherwise REPLIBATCH_METADATA says.",
    ),
    click.option(
        "--no-fallback", is_flag=True, help="No other model stands in for one that fails, or that lacks an input."
    ),
    click.option(
        "--on-outage",
        type=click.Choice(get_args(OnOutage)),
        default="hold",
        show_default=True,
        help="As long as a model is out: hold its items, or go on with the next model.",
    ),
    click.option("--fresh", is_flag=True, help="Make everything again, what succeeded before too."),
    click.option(
        "--overwrite", is_flag=True, help="Replace files in DIR that these items have not made; refused without it."
    ),
    click.option("--yes", is_flag=True, help="Start without a question, whatever it costs."),
)


def allows_fallback(*, no_fallback: bool, on_outage: OnOutage) -> bool:
    """Whether another model may stand in, by the options of `shared`.

    Raises:
        click.UsageError: they contradict each other.
    """
    if no_fallback and on_outage == "fallback":
        raise click.UsageError(
            "--on-outage is fallback, and --no-fallback lets no other model stand in; expected: one of the two"
        )
    return not no_fallback


def shared(command: Command) -> Command:
    """FILE and the options of `run` and `submit`."""
    for option in reversed(_SHARED):
        command = option(command)
    return command
