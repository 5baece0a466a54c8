"""`replibatch models`: the catalogue shown, added to, and held against the account."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from replibatch.cli.errors import FAILED, Failure
from replibatch.cli.options import Dollars

if TYPE_CHECKING:
    from replibatch.catalog import Model


@click.group(invoke_without_command=True, short_help="Show the models: price, inputs, fallback.")
@click.option("--json", "as_json", is_flag=True, help="The whole list, inputs included, for machines.")
@click.pass_context
def models(context: click.Context, as_json: bool) -> None:
    """Show the models: price, kind, reference images, inputs, fallback."""
    if context.invoked_subcommand is not None:
        return
    from replibatch.producer.published_inputs import load_catalog  # noqa: PLC0415  # heavy
    from replibatch.settings import load  # noqa: PLC0415

    known = load_catalog(load()).models
    if as_json:
        click.echo(json.dumps({name: model.to_json() for name, model in known.items()}, ensure_ascii=False))
        return
    for model in known.values():
        _print(model, brief=True)


@models.command("show")
@click.argument("name", metavar="NAME")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def show_model(name: str, as_json: bool) -> None:
    """Show one model: price, every input with what it may be, outputs, fallback, where that was read.

    A model that is in no catalogue is shown as it publishes itself.
    """
    from replibatch.cli.added_models import found  # noqa: PLC0415  # heavy

    model, is_added = found(name)
    if as_json:
        click.echo(json.dumps({"name": model.name, **model.to_json()}, ensure_ascii=False))
        return
    _print(model, brief=False)
    if not is_added:
        click.echo(f"not in the catalogue; `replibatch models add {model.name}` adds it")


@models.command("add")
@click.argument("name", metavar="NAME")
@click.option("--price", type=Dollars(), metavar="USD", help="What one unit costs; unknown if left out.")
@click.option(
    "--per",
    type=click.Choice(["image", "call", "second", "gpu_second", "megapixel", "token"]),
    help="The unit that the price is for; a call if left out.",
)
@click.option(
    "--kind",
    type=click.Choice(["image", "video", "audio", "text", "3d", "file"]),
    help="What it makes, where its schema does not tell.",
)
@click.option("--prompt-input", metavar="INPUT", help="The input that takes the prompt.")
@click.option("--reference-input", metavar="INPUT", help="The input that takes reference images.")
@click.option("--data-uris", is_flag=True, help="Files go along as data URIs: it takes no addresses.")
@click.option("--replace", is_flag=True, help="Write the model's table anew, its version too.")
def add_model(  # click's shape
    name: str,
    price: float | None,
    per: str | None,
    kind: str | None,
    prompt_input: str | None,
    reference_input: str | None,
    data_uris: bool,
    replace: bool,
) -> None:
    """Add a model of Replicate's: reads what it publishes and writes its table into replibatch.toml.

    NAME is owner/name, owner/name:version, deployment:owner/name, or the address of the model's page. A model that is
    not official is pinned to its latest version.
    """
    from replibatch.cli.added_models import add  # noqa: PLC0415  # heavy

    given = {
        "kind": kind,
        "price_usd": price,
        "price_unit": per,
        "prompt_param": prompt_input,
        "reference_param": reference_input,
        "data_uris": data_uris or None,
    }
    model, path = add(name, {key: value for key, value in given.items() if value is not None}, replace=replace)
    click.echo(f"{model.name} is in {path} now")
    _print(model, brief=False)
    if model.price_usd is None and not model.prices:
        click.echo("price unknown: no budget lets it through without max_price_usd; --price USD --per UNIT says it")


@models.command("check")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def check_models(as_json: bool) -> None:
    """Compare the whole catalogue with the account: models gone, with a new version, or with other inputs."""
    from replibatch.cli.added_models import compared  # noqa: PLC0415  # heavy

    rows = []
    for row in compared():
        rows.append(row)
        if not as_json:
            click.echo(f"{row.name}: {'; '.join(row.findings) or 'as in the catalogue'}")
    if as_json:
        click.echo(json.dumps([row._asdict() for row in rows], ensure_ascii=False))
    gone = [row.name for row in rows if row.is_gone]
    if gone:
        raise Failure(f"gone: {', '.join(gone)}", FAILED)


def _print(model: Model, *, brief: bool) -> None:
    from rich.padding import Padding  # noqa: PLC0415  # heavy
    from rich.text import Text  # noqa: PLC0415

    from replibatch.cli.consoles import stdout  # noqa: PLC0415

    console = stdout()
    head = f"  {model.kind}, {_price(model)}, about {model.typical_seconds:g} s"
    console.print(Text.assemble((model.name, "bold"), head))
    for heading, told in _brief(model) if brief else [*_brief(model), *_in_full(model)]:
        if told:
            console.print(Padding(Text.assemble((f"{heading}: ", "dim"), told), (0, 0, 0, 2), expand=False))
    console.print()


def _price(model: Model) -> str:
    unit = model.price_unit.replace("gpu_second", "second of GPU time")
    each = f"a{'n' if model.price_unit == 'image' else ''} {unit}"
    prices = {price.usd for price in model.prices} | ({model.price_usd} if model.price_usd is not None else set())
    if not prices:
        return "price unknown"
    low, high = min(prices), max(prices)
    return f"${low:g} {each}" if low == high else f"${low:g} to ${high:g} {each}"


def _brief(model: Model) -> list[tuple[str, str]]:
    references = f"{model.reference_max} as {model.reference_param}" if model.reference_param else "none"
    edges = []
    for edge in dict.fromkeys(edge.model for edge in model.fallback):
        only = [each for each in model.fallback if each.model == edge]
        condition = " (with a reference image)" if all(each.references for each in only) else ""
        edges.append(edge + condition)
    known = "" if model.inputs_known else "; not all are known, any other is sent as it is"
    return [
        ("good at", model.specialization),
        ("reference images", references),
        ("inputs", ", ".join(name for name in model.inputs if name != model.prompt_name) + known),
        ("fallback", ", ".join(edges) or "none"),
    ]


def _in_full(model: Model) -> list[tuple[str, str]]:
    rows = [
        ("version", model.version or ""),
        ("prompt", model.prompt_name or "none"),
        ("output", model.output or "not declared"),
        ("files", "as data URIs" if model.data_uris else ""),
    ]
    for price in model.prices:
        when = ", ".join(f"{name} is {value}" for name, value in price.when.items())
        rows.append(("price", f"${price.usd:g} where {when}"))
    for name, spec in model.inputs.items():
        required = ", required" if spec.required else ""
        default = "" if spec.default is None else f", {json.dumps(spec.default, ensure_ascii=False)} if left out"
        rows.append((name, f"{spec.allowed}{required}{default}"))
    return [*rows, ("source", model.source)]
