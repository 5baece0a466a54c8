"""`replibatch sandbox`: the stand-in for Replicate as a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from replibatch.errors import SettingsError
from replibatch.sandbox import SandboxSettings, reference, serve


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to serve on.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=0, metavar="P", help="0, the default, takes a free one."
)
@click.option(
    "--latency", type=float, metavar="SECONDS", help="Of every prediction; else as its model usually takes."
)
@click.option("--speed", type=float, metavar="FACTOR", help="Divides the models' usual times.")
@click.option("--jitter", type=float, metavar="SHARE", help="A prediction takes up to this share more or less.")
@click.option("--per-minute", type=int, metavar="N", help="Creates admitted in a sliding minute.  [default: 600]")
@click.option("--max-concurrent", type=int, metavar="N", help="Predictions in flight before creates get a 429.")
@click.option("--low-credit", is_flag=True, default=None, help="Only 6 creates a minute, one at a time.")
@click.option("--credit", type=float, metavar="USD", help="Creates get a 402 once it is used up.")
@click.option(
    "--fault", "faults", multiple=True, metavar="KIND=RATE", help="As in --fault 502-after=0.05; repeatable."
)
@click.option("--broken-model", "broken_models", multiple=True, metavar="MODEL", help="It always fails; repeatable.")
@click.option("--seed", type=int, metavar="N", help="Of everything random.")
@click.option(
    "--set",
    "others",
    multiple=True,
    metavar="NAME=JSON",
    help="Any setting, as --set list_lag_seconds=3; repeatable.",
)
@click.option(
    "--settings-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A JSON object of settings; the options win.",
)
@click.option("--kinds", is_flag=True, help="List the kinds of faults and the settings, and end.")
def sandbox(
    host: str,
    port: int,
    faults: tuple[str, ...],
    others: tuple[str, ...],
    settings_file: Path | None,
    kinds: bool,
    **options: Any,
) -> None:
    """Serve a stand-in for Replicate: the same API, pictures of its own, no cost.

    It answers as the real one was recorded. Faults can be ordered at a rate (--fault), for one model (--set
    model_faults=…), or by a mark in a prompt: `[[failed]]`, `[[sensitive@owner/model]]`, `[[interrupted:2]]` (twice
    only). A fault `<place>-<status>-<body>` has one endpoint answer so: `list-403-cdn`, `create-404-balancer`,
    `created-200-portal` (after the create), `get-hang`. --kinds lists all.

    While it runs: GET /books tells what was asked, what ran and what it would have cost; POST /settings changes
    settings, POST /faults the rates, POST /models registers models of any schema.
    """
    if kinds:
        click.echo(reference.text())
        return
    serve(_behaviour(faults, _given(others, settings_file), options), host, port, on_ready=_say_how_to_use)


def _given(others: tuple[str, ...], settings_file: Path | None) -> dict[str, Any]:
    """The settings of the file and of `--set`; a value that is no JSON is text.

    Raises:
        SettingsError: the file holds no JSON object.
    """
    given: dict[str, Any] = {}
    if settings_file:
        try:
            given = json.loads(settings_file.read_text("utf-8"))
        except ValueError as error:
            raise SettingsError(
                f"{settings_file} is no JSON ({error}); expected: a JSON object of settings"
            ) from None
        if not isinstance(given, dict):
            raise SettingsError(f"{settings_file} is no JSON object; expected: a JSON object of settings")
    for other in others:
        name, _, value = other.partition("=")
        try:
            given[name] = json.loads(value)
        except ValueError:
            given[name] = value
    return given


def _behaviour(faults: tuple[str, ...], others: dict[str, Any], options: dict[str, Any]) -> Any:
    """The stand-in's settings.

    Raises:
        SettingsError: naming the option, its value and the expected values.
    """
    names = {
        "latency": "latency_seconds",
        "per_minute": "creates_per_window",
        "credit": "credit_usd",
    }
    given = others | {names.get(name, name): value for name, value in options.items() if value not in (None, ())}
    if faults:
        given["fault_rates"] = dict(fault.partition("=")[::2] for fault in faults)
    try:
        return SandboxSettings(**given)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"] if part != "[key]")
        reason = problem["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{where} is {problem['input']!r}: {reason}") from None


def _say_how_to_use(url: str) -> None:
    click.echo(f"A stand-in for Replicate at {url}. In another terminal:\n", err=True)
    click.echo(f"export REPLICATE_BASE_URL={url}\nexport REPLICATE_API_TOKEN=sandbox")
    click.echo("\nCtrl-C ends it.", err=True)
