"""`replibatch results`: what a batch has made so far, wherever it was submitted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from replibatch.cli.account import open_account
from replibatch.cli.export import FORMATS, export_batch, export_folder
from replibatch.cli.formatting import dollars, outcome
from replibatch.producer import Batch, Producer
from replibatch.requests import BatchResult
from replibatch.storage.containment import Place


@dataclass(frozen=True)
class Found:
    """A result of a batch, its place in it, and what tells its item from every other."""

    index: int
    key: str
    result: BatchResult

    def line(self, shown: BatchResult) -> dict[str, Any]:
        """It as a line of a results file."""
        return {"index": self.index, "key": self.key, **shown.to_json()}


@click.command()
@click.argument("batch_id", metavar="ID|DIR")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Bring the files here; without it, they are listed where they are stored.",
)
@click.option(
    "--to",
    "form",
    type=click.Choice(FORMATS),
    help="Write the results into -o in this form: a table, a data set, or pages with all pictures.",
)
@click.option("--json", "as_json", is_flag=True, help="The fields of BatchResult, a JSON object a line.")
def results(batch_id: str, output: Path | None, form: str | None, as_json: bool) -> None:
    """Show the results of a batch, as far as there are any.

    With --to, ID may be the folder of a run as well, which needs neither Redis nor an account.
    """
    if form:
        _export(batch_id, output, form)
        return
    producer = open_account()
    root = str(producer.batches.about(batch_id).get("root", ""))
    place_in = _into(output.absolute(), root) if output else None
    for found in _results(producer, batch_id):
        shown = producer.files.at_home(found.result, place_in) if place_in else found.result
        if as_json:
            click.echo(json.dumps(found.line(shown), ensure_ascii=False))
        else:
            where = ", ".join(shown.file_paths) or "-"
            click.echo(
                f"{found.index + 1:>6}  {dollars(found.result.cost_usd):>8}  {where}  ({outcome(found.result)})"
            )


def _export(source: str, output: Path | None, form: str) -> None:
    folder = Path(source)
    if folder.is_dir():
        said = export_folder(folder, output or folder, form)
    elif output is None:
        raise click.UsageError(f"--to {form} needs -o; expected: a folder to write into")
    else:
        producer = open_account()
        root = str(producer.batches.about(source).get("root", ""))
        here = producer.embedded and producer.settings.storage_url is None

        def lines(brought: Path) -> Iterator[str]:
            place_in = None if here else _into(brought, root)
            for found in _results(producer, source):
                yield json.dumps(found.line(producer.files.at_home(found.result, place_in)))

        said = export_batch(lines, output, form, source)
    click.echo(said)


def _results(producer: Producer, batch_id: str) -> Iterator[Found]:
    """Those that are there, then, if the batch is over, those that never started."""
    state = producer.batches.state(batch_id)
    batch = Batch(producer, batch_id)
    for page in producer.batches.pages(batch_id):
        for each in page:
            if result := each.result or batch.gone(each):
                yield Found(each.index, each.id, result)
    if state.is_over:
        for index, result in batch.not_started():
            yield Found(index, f"{batch_id}:{index}", result)


def _into(folder: Path, root: str) -> Callable[[str], Place]:
    """Where stored files go in `folder`: by their path under the batch's own root, if they have one."""

    def place(stored: str) -> Place:
        path = Path(stored)
        if root and path.is_relative_to(root):
            return Place(folder, str(path.relative_to(root)))
        return Place(folder, path.name if path.is_absolute() else stored)

    return place
