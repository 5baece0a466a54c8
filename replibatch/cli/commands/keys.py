"""`replibatch keys`: who may use the gateway, and how much."""

from __future__ import annotations

import json
from typing import Any

import click

from replibatch.cli.account import open_account
from replibatch.cli.formatting import dollars
from replibatch.cli.options import Dollars
from replibatch.errors import NoSuchWork
from replibatch.gateway.tenants import MOST_WAITING, Tenants
from replibatch.money import to_usd
from replibatch.producer import Producer
from replibatch.redisdb import keys as redis_keys


@click.group()
def keys() -> None:
    """Add, list and remove keys of the gateway (`replibatch serve`)."""


@keys.command("add")
@click.argument("name")
@click.option("--no-fallback", is_flag=True, help="No other model may stand in.")
@click.option("--max-concurrent", type=click.IntRange(1, 100_000), metavar="N", help="Its predictions in flight.")
@click.option("--budget", type=Dollars(), metavar="USD", help="What its predictions may cost in all.")
@click.option("--max-waiting", type=click.IntRange(1, 1_000_000), default=MOST_WAITING, show_default=True,
              metavar="N", help="Its predictions that are not over; more are refused.")  # fmt: skip
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Count its predictions under TAG, too.")
def add_key(
    name: str,
    no_fallback: bool,
    max_concurrent: int | None,
    budget: float | None,
    max_waiting: int,
    tags: tuple[str, ...],
) -> None:
    """Make a key and print it, once: only its hash is kept."""
    key = _tenants(open_account()).add(
        name,
        fallback=not no_fallback,
        max_concurrent=max_concurrent,
        budget_usd=budget,
        max_waiting=max_waiting,
        tags=tags,
    )
    click.echo(key)
    click.echo("replibatch: this key is shown once; clients send it as their Replicate token", err=True)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def list_keys(as_json: bool) -> None:
    """List the keys, with what each has spent of its budget."""
    producer = open_account()
    rows: list[dict[str, Any]] = []
    for tenant in _tenants(producer).all().values():
        spent = producer.redis.hget(redis_keys.BUDGET.at(producer.settings.key_prefix, tenant.budget or "-"), "spent")
        rows.append(
            {
                "name": tenant.name,
                "fallback": tenant.fallback,
                "max_concurrent": tenant.max_concurrent,
                "max_waiting": tenant.max_waiting,
                "budget_usd": tenant.budget_usd,
                "spent_usd": to_usd(int(str(spent or 0))) if tenant.budget else None,
                "tags": list(tenant.tags),
            }
        )
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        spent = f"{dollars(row['spent_usd'])} of {dollars(row['budget_usd'])}"
        budget = "no budget" if row["budget_usd"] is None else spent
        slots = "" if row["max_concurrent"] is None else f"   at most {row['max_concurrent']:,} at once"
        click.echo(f"{row['name']:<24} {budget}{slots}{'' if row['fallback'] else '   no fallback'}")


@keys.command("remove")
@click.argument("name")
def remove_key(name: str) -> None:
    """Refuse a key from now on. What it has asked for is made all the same."""
    if not _tenants(open_account()).remove(name):
        raise NoSuchWork(f"no key {name!r}; expected: a name of `replibatch keys list`")
    click.echo(f"replibatch: the key {name!r} is refused from now on", err=True)


def _tenants(producer: Producer) -> Tenants:
    return Tenants(producer.redis, producer.settings.key_prefix, producer.limiter)
