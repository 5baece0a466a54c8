"""`replibatch models`: the catalogue."""

from __future__ import annotations

import json

import click
from rich.padding import Padding
from rich.text import Text

from replibatch.catalog import Model
from replibatch.cli.consoles import stdout
from replibatch.producer.published_inputs import load_catalog
from replibatch.settings import load


@click.command()
@click.option("--json", "as_json", is_flag=True, help="All of it, inputs included, for machines.")
def models(as_json: bool) -> None:
    """Show the models: price, kind, reference images, inputs, fallback."""
    known = load_catalog(load()).models
    if as_json:
        click.echo(json.dumps({name: model.to_json() for name, model in known.items()}, ensure_ascii=False))
        return

    console = stdout()
    for name, model in known.items():
        price = f"${model.price_usd:g} a{'n' if model.price_unit == 'image' else ''} {model.price_unit}"
        console.print(Text.assemble((name, "bold"), f"  {model.kind}, {price}, about {model.typical_seconds:g} s"))
        for heading, told in _details(model):
            console.print(Padding(Text.assemble((f"{heading}: ", "dim"), told), (0, 0, 0, 2), expand=False))
        console.print()


def _details(model: Model) -> list[tuple[str, str]]:
    references = f"{model.reference_max} as {model.reference_param}" if model.reference_param else "none"
    edges = []
    for edge in dict.fromkeys(edge.model for edge in model.fallback):
        only = [each for each in model.fallback if each.model == edge]
        condition = " (with a reference image)" if all(each.references for each in only) else ""
        edges.append(edge + condition)
    details = [
        ("good at", model.specialization),
        ("reference images", references),
        ("inputs", ", ".join(name for name in model.inputs if name != "prompt")),
        ("fallback", ", ".join(edges) or "none"),
    ]
    return [(heading, told) for heading, told in details if told]
