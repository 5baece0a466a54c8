"""`replibatch status`: the account as the whole fleet sees it."""

from __future__ import annotations

import json
import time
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from replibatch.cli.account import open_account
from replibatch.cli.checkup import host_of
from replibatch.cli.consoles import stdout
from replibatch.cli.formatting import dollars, duration
from replibatch.jobs.unknown import Unknown, UnknownCreates
from replibatch.jobs.webhooks import OwedWebhooks
from replibatch.limits import AccountStatus
from replibatch.limits.process import explicit_limits
from replibatch.producer import Producer

UNKNOWN_SHOWN = 10
LOOK_SECONDS = 1.0
CAUSES = {
    "slots": "for a slot",
    "window": "for the window",
    "cooldown": "for the pause Replicate asked for",
    "pacing": "their turn: Replicate lets fewer through than configured",
    "stopped": "for the account to go on",
    "outage": "until what is out works again",
    "rebuild": "until what is in flight is known again",
}  # what the first in line waits for, by `waiting_for`


@click.command()
@click.option("--watch", is_flag=True, help="Keep it on the screen, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="For machines; with --watch, an object a line.")
def status(watch: bool, as_json: bool) -> None:
    """Show the account: limits and their sources, work in flight, workers, spend."""
    producer = open_account()
    if as_json:
        click.echo(json.dumps(snapshot(producer)))
        while watch:
            time.sleep(LOOK_SECONDS)
            click.echo(json.dumps(snapshot(producer)))
        return

    console = stdout()
    if not watch or not console.is_terminal:
        console.print(picture(snapshot(producer)), soft_wrap=True)
        return
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while True:
            live.update(picture(snapshot(producer)), refresh=True)
            time.sleep(LOOK_SECONDS)


def snapshot(producer: Producer) -> dict[str, Any]:
    """The fields of `get_global_status`, and what operators want to know beside them."""
    now = producer.limiter.status()
    own = explicit_limits(producer.settings)
    return {
        **producer.status(),
        "account": producer.settings.account_key,
        "sources": {name: now.source(name, own) for name in ("max_concurrent", "per_window", "budget")},
        "window_seconds": producer.settings.rate_window_seconds,
        "learned_per_window": now.learned_per_window,
        "reads_in_minute": now.reads,
        "reads_per_minute": producer.settings.reads_per_minute,
        "budget_usd": now.budget_usd,
        "reserved_usd": now.reserved_usd,
        "waiting_for": now.waiting_for,
        "stopped": str(now.stop) if now.stop else None,
        "outages": [outage.to_json() for outage in now.outages],
        "to_go_on": now.stop.to_go_on if now.stop else None,
        "unknown": [_unknown(each) for each in UnknownCreates(producer.jobs.redis, producer.jobs.prefix).all()],
        "throttled": now.throttled,
        "webhooks_failing": [
            {"job": each.job, "host": host_of(each.url), "tries": each.tries, "error": each.error}
            for each in OwedWebhooks(producer.redis, producer.jobs.prefix).failing()
        ],
        "workers": _workers(producer, now),
    }


def _unknown(each: Unknown) -> dict[str, Any]:
    return {
        "id": each.id,
        "model": each.model,
        "since_seconds": round(time.time() - each.since, 1),
        "candidates": list(each.candidates),
        "why": each.why,
        "to_settle": each.to_settle,
    }


def _workers(producer: Producer, now: AccountStatus) -> list[dict[str, Any]]:
    holders = producer.limiter.holders()
    return [
        {
            "name": name,
            "in_flight": holders.get(name, (0, 0))[0],
            "waiting": holders.get(name, (0, 0))[1],
            "silent_seconds": now.silent_seconds[name],
        }
        for name in now.workers
    ]


def picture(now: dict[str, Any]) -> RenderableType:
    """The snapshot for people."""
    title = Text.assemble(("account ", "dim"), now["account"])
    return Group(title, Text(), _limits(now), Text(), _facts(now), Text(), _who_works(now))


def _limits(now: dict[str, Any]) -> Table:
    """The use of each limit, and who set it."""
    sources, learned, budget = now["sources"], now["learned_per_window"], now["budget_usd"]
    rows = (
        (
            "in flight",
            f"{now['current_concurrent']:,}",
            f"{now['global_max_concurrent']:,}",
            sources["max_concurrent"],
            f"at most {now['max_concurrent_reached']:,} so far",
        ),
        (
            f"created in {duration(now['window_seconds'])}",
            f"{now['requests_in_window']:,}",
            f"{now['requests_per_minute']:,}",
            sources["per_window"],
            f"Replicate lets {learned:,} through" if learned else "",
        ),
        ("reads in 1 min", f"{now['reads_in_minute']:,}", f"{now['reads_per_minute']:,}", "", ""),
        (
            "spent this month",
            dollars(now["spent_usd"]),
            "no budget" if budget is None else dollars(budget),
            "" if budget is None else sources["budget"],
            f"{dollars(now['reserved_usd'])} reserved" if now["reserved_usd"] else "",
        ),
    )
    table = _table("", ">used", ">limit", "set by", "")
    for row in rows:
        table.add_row(*row)
    return table


def _facts(now: dict[str, Any]) -> Table:
    """What the account does and waits for, and what to do about it."""
    cause = CAUSES.get(now["waiting_for"] or "", "") if now["waiting"] else ""
    facts = [
        ("waiting", f"{now['waiting']:,} {cause}".rstrip()),
        ("created", f"{now['total_requests']:,} in all, throttled {now['throttled']:,} times"),
    ]
    if now["cooling_down_seconds"]:
        facts.append(("pause", f"Replicate asked for {duration(now['cooling_down_seconds'])} more"))
    if failing := now["webhooks_failing"]:
        last = failing[-1]
        facts.append(("webhooks", f"{len(failing):,} fail, one to {last['host']}: {last['error']}"))
    for outage in now["outages"]:
        facts += [("out", f"{outage['what']}: {outage['message']}"), ("to go on", outage["to_go_on"])]
    for each in now["unknown"][:UNKNOWN_SHOWN]:
        facts += [("held", f"{each['id']}, on {each['model']}: {each['why']}"), ("to settle", each["to_settle"])]
    if len(now["unknown"]) > UNKNOWN_SHOWN:
        facts.append(("held", f"and {len(now['unknown']) - UNKNOWN_SHOWN:,} more; --json lists them"))
    if now["stopped"]:
        facts += [("stopped", now["stopped"]), ("to go on", now["to_go_on"])]
    grid = Table.grid(padding=(0, 2, 0, 0))
    for name, fact in facts:
        grid.add_row(name, _plain(fact))
    return grid


def _who_works(now: dict[str, Any]) -> RenderableType:
    if not now["workers"]:
        return Text("no worker answers; start one with `replibatch worker`")
    table = _table("worker", ">in flight", ">waiting", ">heard of")
    for worker in now["workers"]:
        heard = f"{worker['silent_seconds']:.1f} s ago"
        table.add_row(_plain(worker["name"]), f"{worker['in_flight']:,}", f"{worker['waiting']:,}", heard)
    return table


def _table(*headings: str) -> Table:
    """A table without lines; a heading that begins with `>` is a column of figures."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for heading in headings:
        table.add_column(heading.removeprefix(">"), justify="right" if heading.startswith(">") else "left")
    return table


def _plain(text: str) -> Any:
    """What others wrote is no markup."""
    return Text(text)
