"""`replibatch results`: what a batch has made so far, wherever it was submitted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from replibatch.cli.account import open_account
from replibatch.cli.formatting import dollars, outcome
from replibatch.producer import Batch, Producer
from replibatch.requests import BatchResult
from replibatch.storage.containment import Place


@click.command()
@click.argument("batch_id", metavar="ID")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Bring the files here; without it, they are listed where they are stored.",
)
@click.option("--json", "as_json", is_flag=True, help="The fields of BatchResult, a JSON object a line.")
def results(batch_id: str, output: Path | None, as_json: bool) -> None:
    """Show the results of a batch, as far as there are any."""
    producer = open_account()
    root = str(producer.batches.about(batch_id).get("root", ""))
    place_in = _into(output.absolute(), root) if output else None
    for index, result in _results(producer, batch_id):
        shown = producer.files.at_home(result, place_in) if place_in else result
        if as_json:
            click.echo(json.dumps({"index": index, **shown.to_json()}, ensure_ascii=False))
        else:
            where = ", ".join(shown.file_paths) or "-"
            click.echo(f"{index + 1:>6}  {dollars(result.cost_usd):>8}  {where}  ({outcome(result)})")


def _results(producer: Producer, batch_id: str) -> Iterator[tuple[int, BatchResult]]:
    """Those that are there, then, if the batch is over, those that never started."""
    state = producer.batches.state(batch_id)
    batch = Batch(producer, batch_id)
    for page in producer.batches.pages(batch_id):
        for each in page:
            if result := each.result or batch.gone(each):
                yield each.index, result
    if state.is_over:
        yield from batch.not_started()


def _into(folder: Path, root: str) -> Callable[[str], Place]:
    """Where stored files go in `folder`: by their path under the batch's own root, if they have one."""

    def place(stored: str) -> Place:
        path = Path(stored)
        if root and path.is_relative_to(root):
            return Place(folder, str(path.relative_to(root)))
        return Place(folder, path.name if path.is_absolute() else stored)

    return place
