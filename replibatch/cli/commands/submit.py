"""`replibatch submit`: `run` without waiting."""

from __future__ import annotations

from typing import Any

import click
from redis.exceptions import RedisError

from replibatch.cli.account import open_account, say_if_no_worker
from replibatch.cli.errors import Failure
from replibatch.cli.found_files import name_found_files
from replibatch.cli.options import shared
from replibatch.cli.run.enqueue import Enqueuer, Options
from replibatch.cli.run.estimate import estimate
from replibatch.cli.run.plan import name_of, planned_for
from replibatch.settings import load

PATIENCE_SECONDS = 60.0  # with a Redis that is away


def _half_way(enqueuer: Enqueuer, total: int, error: RedisError) -> str:
    """What to say where Redis went away, or refused, before all was accepted."""
    batch = enqueuer.batch.id
    return (
        f"Redis: {error}\n"
        f"about {enqueuer.appended:,} of {total:,} items were accepted, as batch {batch}, and workers make them\n"
        f"go on: the same command again; go back: `replibatch cancel {batch}`"
    )


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
        enqueuer.open(follows=False)
        producer.patience.seconds = PATIENCE_SECONDS
        try:
            enqueuer.append(made)
        except RedisError as error:
            raise Failure(_half_way(enqueuer, survey.count, error)) from None
        click.echo(enqueuer.batch.id)
        say_if_no_worker(producer, f"`replibatch watch {enqueuer.batch.id}`")
