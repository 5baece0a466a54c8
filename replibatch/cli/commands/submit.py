"""`replibatch submit`: `run` without waiting."""

from __future__ import annotations

from typing import Any

import click

from replibatch.cli.account import open_account, say_if_no_worker
from replibatch.cli.errors import Failure
from replibatch.cli.found_files import name_found_files
from replibatch.cli.options import shared
from replibatch.cli.run.enqueue import Enqueuer, Options
from replibatch.cli.run.estimate import estimate
from replibatch.cli.run.plan import name_of, planned_for
from replibatch.settings import load


@click.command()
@shared
def submit(
    file: str, max_concurrent: int | None, max_cost: float | None, no_fallback: bool, fresh: bool, **planned: Any
) -> None:
    """Enqueue every item of FILE, print the batch's id and return.

    FILE and options are those of `replibatch run`, which, given the same ones, follows what was submitted.
    """
    settings = load()
    name_found_files(settings)
    with planned_for(settings, file, **planned) as plan, plan.folder.made(fresh=fresh) as made:
        survey = plan.survey(made)
        if not survey.count:
            raise Failure(f"nothing to submit: {plan.folder.path} has every item")
        producer = open_account()
        click.echo(estimate(survey, producer, max_concurrent).headline(), err=True)
        options = Options(max_concurrent, max_cost, not no_fallback, fresh)
        enqueuer = Enqueuer(plan, producer, options, name_of(file))
        enqueuer.open()
        enqueuer.append(made)
        click.echo(enqueuer.batch.id)
        say_if_no_worker(producer, f"`replibatch watch {enqueuer.batch.id}`")
