"""`replibatch limits`: what the whole account may do, stored in Redis until it is cleared."""

from __future__ import annotations

import json

import click

from replibatch.cli.account import open_account
from replibatch.cli.commands.status import snapshot
from replibatch.cli.formatting import dollars
from replibatch.cli.options import Dollars
from replibatch.money import to_micro
from replibatch.producer import Producer


@click.group()
def limits() -> None:
    """Show, set or clear the account's limits.

    A limit that is set wins over what any process was given, until it is cleared; it holds everywhere within seconds.
    """


@limits.command("set")
@click.option("--max-concurrent", type=click.IntRange(1, 100_000), metavar="N", help="Predictions in flight.")
@click.option("--per-minute", type=click.IntRange(1, 1_000_000), metavar="N", help="Predictions created in a window.")
@click.option("--budget", type=Dollars(), metavar="USD", help="Spend in a calendar month (UTC).")
def set_limits(max_concurrent: int | None, per_minute: int | None, budget: float | None) -> None:
    """Set limits; those not named stay."""
    given = {
        "max_concurrent": max_concurrent,
        "per_window": per_minute,
        "budget": None if budget is None else to_micro(budget),
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise click.UsageError("name a limit: --max-concurrent, --per-minute or --budget")
    _store(open_account(), changes)


@limits.command("clear")
@click.option("--max-concurrent", is_flag=True, help="Clear this one alone.")
@click.option("--per-minute", is_flag=True, help="Clear this one alone.")
@click.option("--budget", is_flag=True, help="Clear this one alone.")
def clear_limits(max_concurrent: bool, per_minute: bool, budget: bool) -> None:
    """Clear all limits that were set, or those named."""
    named = {"max_concurrent": max_concurrent, "per_window": per_minute, "budget": budget}
    chosen = [name for name, is_named in named.items() if is_named] or list(named)
    _store(open_account(), dict.fromkeys(chosen))


@limits.command("show")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def show_limits(as_json: bool) -> None:
    """Show the limits in force, and where each comes from."""
    _show(open_account(), as_json=as_json)


def _store(producer: Producer, changes: dict[str, int] | dict[str, int | None]) -> None:
    producer.limiter.store_limits(dict(changes))
    # Read at once, with or without a running process; this one leaves in the same call.
    producer.limiter.heartbeat({}, leaving=True)
    _show(producer, as_json=False)


def _show(producer: Producer, *, as_json: bool) -> None:
    now = snapshot(producer)
    if as_json:
        names = ("global_max_concurrent", "requests_per_minute", "window_seconds", "budget_usd", "sources")
        click.echo(json.dumps({name: now[name] for name in names}))
        return
    budget = now["budget_usd"]
    rows = (
        ("max concurrent", f"{now['global_max_concurrent']:,}", "max_concurrent"),
        ("per minute", f"{now['requests_per_minute']:,}", "per_window"),
        ("budget", "none" if budget is None else dollars(budget), "budget"),
    )
    for name, value, key in rows:
        click.echo(f"{name:<15} {value:>10}   {now['sources'][key]}")
