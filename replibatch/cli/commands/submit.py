"""`replibatch submit`: `run` without waiting."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import click

from replibatch.cli.account import open_account, say_if_no_worker
from replibatch.cli.errors import Failure
from replibatch.cli.found_files import name_found_files
from replibatch.cli.options import shared
from replibatch.cli.run.enqueue import Enqueuer, Options
from replibatch.cli.run.estimate import estimate
from replibatch.cli.run.list_options import list_options, options_from
from replibatch.cli.run.plan import name_of, planned_for
from replibatch.cli.run.understood import confirm, lines_of
from replibatch.settings import load


@click.command()
@shared
@list_options
def submit(
    files: tuple[str, ...],
    output: Path,
    max_concurrent: int | None,
    max_cost: float | None,
    no_fallback: bool,
    fresh: bool,
    overwrite: bool,
    yes: bool,
    **asked: Any,
) -> None:
    """Enqueue every item of FILE, print the batch's id and return.

    FILE and options are those of `replibatch run`, which, given the same ones, follows what was submitted.
    """
    settings = load()
    name_found_files(settings)
    of_list = options_from(asked, fallback=not no_fallback)
    account = cache(open_account)
    with (
        planned_for(settings, files, of_list, output, overwrite=overwrite) as plan,
        plan.folder.made(fresh=fresh) as made,
    ):
        survey = plan.survey(made, account)
        if not survey.count:
            raise Failure(f"nothing to submit: {plan.folder.path} has every item")
        producer = account()
        click.echo("\n".join(lines_of(survey.understanding)), err=True)
        click.echo(estimate(survey, producer, max_concurrent).headline(), err=True)
        confirm(None if survey.unpriced else survey.cost_usd, settings.confirm_usd, yes=yes)
        plan.folder.create()  # which keeps its identity: a later `run` into it finds what was submitted
        options = Options(max_concurrent, max_cost, not no_fallback, fresh)
        enqueuer = Enqueuer(plan, producer, options, name_of(files))
        enqueuer.open()
        enqueuer.append(made)
        click.echo(enqueuer.batch.id)
        say_if_no_worker(producer, f"`replibatch watch {enqueuer.batch.id}`")
