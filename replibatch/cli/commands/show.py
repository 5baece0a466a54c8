"""`replibatch show`: what made a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replibatch.cli.errors import Failure

if TYPE_CHECKING:
    from replibatch.gallery.origin import Origin

LONGEST_SHOWN = 400  # characters of an input


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="The request as a line that `replibatch run` takes.")
def show(file: Path, as_json: bool) -> None:
    """Show what made FILE: request, model, seed, prediction, cost.

    Reads the file itself, where it was made with --metadata, and the results.jsonl in its folder or one above.
    """
    from replibatch.gallery.origin import origin_of  # noqa: PLC0415  # heavy

    origin = origin_of(file)
    if not origin.model:
        raise Failure(
            f"{file} does not say what made it, and no results.jsonl in its folder or above names it; "
            "expected: a file made by replibatch"
        )
    if as_json:
        if not origin.request:
            raise Failure(f"{file} names its model, {origin.model}, but not the request; expected: --metadata full")
        click.echo(json.dumps(origin.request, ensure_ascii=False))
        return
    for name, value in _facts(origin):
        click.echo(f"{name:<12} {_visible(value)}")


def _facts(origin: Origin) -> list[tuple[str, object]]:
    from replibatch.cli.formatting import dollars  # noqa: PLC0415

    facts: list[tuple[str, object]] = [("model", origin.model)]
    result = origin.line.result if origin.line else None
    if result and result.model_name != origin.model:
        facts.append(("asked for", result.model_name))
    own = set(origin.line.own_fields) if origin.line else set()
    request = {name: value for name, value in origin.request.items() if name != "model"}
    facts += [(name, value) for name, value in request.items() if name not in own]
    facts += [(name, value) for name, value in (origin.line.own_fields.items() if origin.line else ())]
    facts.append(("prediction", origin.prediction_id or "not known"))
    cost = origin.cost_usd
    facts.append(("cost", "not known" if cost is None else dollars(cost)))
    if result:
        facts.append(("seconds", f"{result.duration:.1f}"))
        facts += [("warning", warning) for warning in result.warnings]
    if origin.changed:
        facts.append(("changed", "its bytes are not those that were saved"))
    facts.append(("told by", " and ".join(["the file"] * bool(origin.told) + ["results.jsonl"] * bool(result))))
    return facts


def _visible(value: object) -> str:
    """A value on one line, without control characters."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
