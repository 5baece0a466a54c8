"""`replibatch status`: the account as the whole fleet sees it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from replibatch.cli.account import open_account

if TYPE_CHECKING:
    from replibatch.queue import Producer

MICRO = 1_000_000
LOOK_SECONDS = 1.0


@click.command(short_help="Show the account: limits, work under way, spend.")
@click.option("--watch", is_flag=True, help="Keep it on the screen, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="For machines; with --watch, an object a line.")
def status(watch: bool, as_json: bool) -> None:
    """Show the account: its limits and where they come from, what is in flight, who works, what was spent."""
    import time  # noqa: PLC0415

    producer = open_account()
    if as_json:
        click.echo(json.dumps(snapshot(producer)))
        while watch:
            time.sleep(LOOK_SECONDS)
            click.echo(json.dumps(snapshot(producer)))
        return

    from rich.live import Live  # noqa: PLC0415  # heavy

    from replibatch.cli.progress import stdout  # noqa: PLC0415

    console = stdout()
    if not watch or not console.is_terminal:
        for line in lines(snapshot(producer)):
            console.print(line, soft_wrap=True, markup=False)
        return
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while True:
            live.update("\n".join(lines(snapshot(producer))), refresh=True)
            time.sleep(LOOK_SECONDS)


def snapshot(producer: Producer) -> dict[str, Any]:
    """The fields of `get_global_status`, and what operators want to know beside them."""
    now = producer.gate.status()
    budget = now.get("budget")
    return {
        **producer.status(),
        "account": producer.settings.account_key,
        "sources": {name: source(now, name) for name in ("max_concurrent", "per_window", "budget")},
        "window_seconds": producer.settings.rate_window_seconds,
        "learned_per_window": now.get("learned_per_window"),
        "budget_usd": None if budget is None else budget / MICRO,
        "reserved_usd": now["reserved"] / MICRO,
        "stopped": now.get("stopped"),
        "throttled": now["throttled"],
        "workers": sorted(name for name, report in now["processes"].items() if "pid" in report),
    }


def source(now: dict[str, Any], limit: str) -> str:
    """Who set a limit: `limits set`, a live process by its name, or `default`.

    Args:
        now: from `Gate.status`.
        limit: `max_concurrent`, `per_window` or `budget`.
    """
    if now["stored"].get(limit) is not None:
        return "limits set"
    given = {name: report[limit] for name, report in now["processes"].items() if report.get(limit) is not None}
    return min(given, key=lambda name: (given[name], name)) if given else "default"


def lines(now: dict[str, Any]) -> list[str]:
    """The snapshot for people."""
    from replibatch.cli.words import dollars, duration  # noqa: PLC0415

    sources = now["sources"]
    window = f"{now['requests_in_window']:,} of {now['requests_per_minute']:,} in {duration(now['window_seconds'])}"
    if now["learned_per_window"]:
        window += f"; Replicate lets {now['learned_per_window']:,} through"
    spent = f"{dollars(now['spent_usd'])} this month"
    if now["budget_usd"] is not None:
        spent += f" of {dollars(now['budget_usd'])} ({sources['budget']})"
    if now["reserved_usd"]:
        spent += f", {dollars(now['reserved_usd'])} reserved"
    rows = [
        ("account", now["account"]),
        (
            "in flight",
            f"{now['current_concurrent']:,} of {now['global_max_concurrent']:,} ({sources['max_concurrent']}); "
            f"at most {now['max_concurrent_reached']:,} so far",
        ),
        ("window", f"{window} ({sources['per_window']})"),
        ("waiting", f"{now['waiting']:,}"),
        ("created", f"{now['total_requests']:,}, throttled {now['throttled']:,} times"),
        ("spent", spent),
    ]
    if now["cooling_down_seconds"]:
        rows.append(("pause", f"Replicate asked for {duration(now['cooling_down_seconds'])}"))
    if now["stopped"]:
        rows.append(("stopped", f"{now['stopped']}; mend it, then start a worker or run again"))
    workers = now["workers"] or ["none answers; start one with `replibatch worker`"]
    rows += [("workers" if number == 0 else "", worker) for number, worker in enumerate(workers)]
    return [f"{name:<10} {value}" for name, value in rows]
