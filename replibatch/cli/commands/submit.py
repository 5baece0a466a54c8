"""`replibatch submit`: `run` without waiting."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import click
from redis.exceptions import RedisError

from replibatch.cli.account import open_account, say_if_no_worker
from replibatch.cli.errors import Failure
from replibatch.cli.options import allows_fallback, shared
from replibatch.cli.run.enqueue import Enqueuer, Options
from replibatch.cli.run.estimate import estimate
from replibatch.cli.run.list_options import list_options, options_from
from replibatch.cli.run.plan import name_of, planned_for
from replibatch.cli.run.understood import confirm, lines_of
from replibatch.errors import QueueUnavailable
from replibatch.requests import OnOutage
from replibatch.settings import load

PATIENCE_SECONDS = 60.0  # with a Redis that is away


def _half_way(enqueuer: Enqueuer, total: int, error: Exception) -> str:
    """What to say where Redis went away, or refused, before all was accepted."""
    batch = enqueuer.batch.id
    return (
        f"Redis: {error}\n"
        f"about {enqueuer.appended:,} of {total:,} items were accepted, as batch {batch}, and workers make them\n"
        f"go on: the same command again; go back: `replibatch cancel {batch}`"
    )


@click.command()
@shared
@list_options
def submit(
    files: tuple[str, ...],
    output: Path,
    max_concurrent: int | None,
    max_cost: float | None,
    no_fallback: bool,
    on_outage: OnOutage,
    fresh: bool,
    overwrite: bool,
    yes: bool,
    **asked: Any,
) -> None:
    """Enqueue every item of FILE, print the batch's id and return.

    FILE and options are those of `replibatch run`, which, given the same ones, follows what was submitted.
    """
    fallback = allows_fallback(no_fallback=no_fallback, on_outage=on_outage)
    settings = load()
    of_list = options_from(asked, fallback=fallback)
    account = cache(open_account)
    with planned_for(settings, files, of_list, output, fresh=fresh, overwrite=overwrite) as (plan, made):
        survey = plan.survey(made, account)
        if not survey.count:
            raise Failure(f"nothing to submit: {plan.folder.path} has every item")
        producer = account()
        click.echo("\n".join(lines_of(survey.understanding)), err=True)
        click.echo(estimate(survey, producer, max_concurrent).headline(), err=True)
        confirm(None if survey.unpriced else survey.cost_usd, settings.confirm_usd, yes=yes)
        plan.folder.create()  # which keeps its identity: a later `run` into it finds what was submitted
        options = Options(max_concurrent, max_cost, fallback, on_outage, fresh)
        enqueuer = Enqueuer(plan, producer, options, name_of(files))
        enqueuer.open(follows=False)
        producer.patience.seconds = PATIENCE_SECONDS
        try:
            enqueuer.append(made)
        except (RedisError, QueueUnavailable) as error:
            raise Failure(_half_way(enqueuer, survey.count, error)) from None
        click.echo(enqueuer.batch.id)
        say_if_no_worker(producer, f"`replibatch watch {enqueuer.batch.id}`")
