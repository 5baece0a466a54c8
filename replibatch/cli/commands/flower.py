"""`replibatch flower`: Flower, with the page of the whole account in its navigation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from replibatch.cli.account import open_account
from replibatch.cli.options import log_format

if TYPE_CHECKING:
    from replibatch.logs import LogFormat


@click.command(
    short_help="Monitor the fleet in a browser: Flower, with a page of the account.",
    context_settings={"ignore_unknown_options": True},
)
@log_format
@click.argument("flower_options", nargs=-1, type=click.UNPROCESSED, metavar="[FLOWER'S OWN OPTIONS]")
def flower(log_format: LogFormat, flower_options: tuple[str, ...]) -> None:
    """Serve Flower on http://127.0.0.1:5555, with a page of the account at /replibatch.

    Flower's own variables and options hold: FLOWER_PORT, FLOWER_ADDRESS, FLOWER_BASIC_AUTH=user:password …, or
    --port=8888. It needs no token, and shows the account whether any worker is up or not.
    """
    import logging  # noqa: PLC0415  # here, and below: no other command needs it

    from replibatch import logs  # noqa: PLC0415
    from replibatch.monitoring.flower import run  # noqa: PLC0415

    logs.configure(log_format, level=logging.INFO, others=logging.WARNING)
    run(open_account(), flower_options)
