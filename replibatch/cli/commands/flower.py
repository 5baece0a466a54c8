"""`replibatch flower`: Flower, with the page of the whole account in its navigation."""

from __future__ import annotations

import logging

import click

from replibatch import logs
from replibatch.cli.account import open_account
from replibatch.cli.options import log_format
from replibatch.logs import LogFormat
from replibatch.monitoring.flower import run


@click.command(
    context_settings={"ignore_unknown_options": True},
)
@log_format
@click.argument("flower_options", nargs=-1, type=click.UNPROCESSED, metavar="[FLOWER'S OWN OPTIONS]")
def flower(log_format: LogFormat, flower_options: tuple[str, ...]) -> None:
    """Serve Flower on http://127.0.0.1:5555, with a page of the account at /replibatch.

    Flower's own variables and options hold: FLOWER_PORT, FLOWER_ADDRESS, FLOWER_BASIC_AUTH=user:password …, or
    --port=8888. It needs no token, and shows the account whether any worker is up or not.
    """

    logs.configure(log_format, level=logging.INFO, others=logging.WARNING)
    run(open_account(), flower_options)
