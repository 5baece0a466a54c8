"""`replibatch sandbox`: the stand-in for Replicate as a server."""

from __future__ import annotations

from typing import Any

import click
from pydantic import ValidationError

from replibatch.errors import SettingsError
from replibatch.sandbox import SandboxSettings, serve


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
def sandbox(host: str, port: int, faults: tuple[str, ...], **options: Any) -> None:
    """Serve a stand-in for Replicate: the same API, pictures of its own, no cost.

    Faults can be ordered at a rate (--fault), or by a mark in a prompt: `[[failed]]`, `[[sensitive@owner/model]]`,
    `[[interrupted:2]]` (twice only). GET /books tells what was asked, what ran and what it would have cost.
    """

    serve(_behaviour(faults, options), host, port, on_ready=_say_how_to_use)


def _behaviour(faults: tuple[str, ...], options: dict[str, Any]) -> Any:
    """The stand-in's settings.

    Raises:
        SettingsError: naming the option, what was found and what is allowed.
    """

    names = {
        "latency": "latency_seconds",
        "per_minute": "creates_per_window",
        "credit": "credit_usd",
    }
    given = {names.get(name, name): value for name, value in options.items() if value not in (None, ())}
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
