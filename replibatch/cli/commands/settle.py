"""`settle`: a person says what became of a create that nothing proves."""

from __future__ import annotations

import click

from replibatch.cli.account import open_account
from replibatch.cli.errors import MISUSED, Failure
from replibatch.jobs.unknown import UnknownCreates


@click.command()
@click.argument("generation_id", metavar="ID")
@click.option("--created", "prediction", metavar="PREDICTION", help="It was created: this prediction is it.")
@click.option("--not-created", is_flag=True, help="It was not created: it is made again.")
def settle(generation_id: str, prediction: str | None, not_created: bool) -> None:
    """Say what became of a create after its reply was lost.

    `status` lists those without proof, with the predictions that may be it. Replicate's own page shows the input
    of each. A worker acts on it within seconds.
    """
    if (prediction is None) != not_created:
        raise Failure("give either --created PREDICTION or --not-created", MISUSED)
    producer = open_account()
    unknown = UnknownCreates(producer.jobs.redis, producer.jobs.prefix)
    if not unknown.settle(generation_id, prediction):
        listed = ", ".join(each.id for each in unknown.all()) or "none"
        raise Failure(f"{generation_id} is not held; expected: one that `status` lists ({listed})", MISUSED)
    click.echo(f"{generation_id}: {f'the prediction {prediction} is it' if prediction else 'it is made again'}")
