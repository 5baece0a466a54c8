"""Commands on batches that are under way: list, watch, pause, resume, cancel, retry."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from replibatch.cli.account import open_account, say_if_no_worker
from replibatch.cli.consoles import stderr
from replibatch.cli.errors import FAILED
from replibatch.cli.formatting import closing, count, dollars, stand_ins
from replibatch.cli.options import Dollars
from replibatch.cli.run.progress import LiveProgress
from replibatch.cli.run.tally import Tally
from replibatch.jobs.batch_state import BatchState
from replibatch.jobs.holds import UNFOLLOWED, stop_of
from replibatch.limits import AccountStatus
from replibatch.producer import Batch, Producer

SHOWN = 20

batch_id = click.argument("batch_id", metavar="ID")


def _open(batch_id: str) -> tuple[Producer, Batch]:
    producer = open_account()
    return producer, Batch.get(batch_id)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
@click.option("--all", "everything", is_flag=True, help=f"All batches, not only the newest {SHOWN}.")
def batches(as_json: bool, everything: bool) -> None:
    """List the batches, the newest first."""
    jobs = open_account().batches
    rows = []
    for each, opened in jobs.newest(1_000_000 if everything else SHOWN):
        state, about = jobs.state(each), jobs.about(each)
        if as_json:
            click.echo(json.dumps(_as_json(each, opened, state, about), ensure_ascii=False))
        else:
            at = datetime.fromtimestamp(opened).astimezone().strftime("%Y-%m-%d %H:%M")
            rows.append((each, at, f"{state.finished:,}/{state.total:,}", state.standing, str(about.get("name", ""))))
    if not as_json and not rows:
        click.echo("There are no batches.", err=True)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _as_json(batch_id: str, opened: float, state: BatchState, about: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": batch_id,
        "name": about.get("name"),
        "folder": about.get("folder"),
        "opened": datetime.fromtimestamp(opened, UTC).isoformat(timespec="seconds"),
        "state": state.standing,
        **state.figures(),
    }


def _is_held(state: BatchState) -> bool:
    return bool(state.held) and not state.outstanding


@click.command()
@batch_id
def watch(batch_id: str) -> None:
    """Follow a batch until it is over, or held; in embedded mode, work on it.

    Exit codes: 0 every item succeeded, 1 some did not.
    """

    producer, batch = _open(batch_id)
    producer.warns_of_outages = False  # the progress shows them
    producer.batches.follow(batch_id, producer.process)
    if producer.batches.held(batch_id) == UNFOLLOWED:
        producer.publish(producer.batches.hold(batch_id, ""))
    tally = Tally(
        batch.progress().total,
        per_window=producer.status()["requests_per_minute"],
        window_seconds=producer.settings.rate_window_seconds,
    )

    def look() -> tuple[AccountStatus, str]:
        return producer.limiter.status(), producer.batches.held(batch_id)

    with LiveProgress(tally, look, stderr()) as progress:
        for ended in batch.follow(stop=_is_held, bring_files=False):
            tally.add(ended.result)
            if not ended.result.success:
                progress.tell(ended.result)
    now = batch.progress()
    click.echo("\n".join([closing(tally) + (f"; {now.held}" if now.held else ""), *stand_ins(tally)]))
    if tally.succeeded < tally.total:
        click.get_current_context().exit(FAILED)


@click.command()
@batch_id
def pause(batch_id: str) -> None:
    """Start nothing new of a batch; running predictions are finished."""
    _, batch = _open(batch_id)
    batch.pause()
    now = batch.progress()
    click.echo(f"{batch_id} is paused: {now.waiting:,} wait, {now.queued + now.running:,} in flight are finished")


@click.command()
@click.argument("batch_id", metavar="[ID]", required=False)
@click.option("--max-cost", type=Dollars(), metavar="USD", help="A new budget for all of the batch.")
def resume(batch_id: str | None, max_cost: float | None) -> None:
    """Go on with a batch that was paused, or held by its budget or a stop of the account.

    Without ID: have a stopped account (token, credit) go on, with every batch that the stop holds.
    """
    if batch_id is None:
        if max_cost is not None:
            raise click.UsageError("--max-cost is the budget of one batch: name its ID")
        _resume_account()
        return
    producer, batch = _open(batch_id)
    batch.resume(max_cost_usd=max_cost)
    now = batch.progress()
    click.echo(f"{batch_id} goes on: {now.waiting + now.queued + now.running:,} to go")
    say_if_no_worker(producer, f"`replibatch watch {batch_id}`")


def _resume_account() -> None:
    producer = open_account()
    stop = producer.limiter.status().stop
    producer.limiter.resume(forget=True)
    held = [each for each, _ in producer.batches.newest(1_000_000) if stop_of(producer.batches.held(each))]
    for each in held:
        Batch(producer, each).resume()
    was = f"it was stopped: {stop}" if stop else "it was not stopped"
    click.echo(f"the account goes on ({was}); batches that waited for that: {len(held):,}")
    say_if_no_worker(producer, "`replibatch watch ID`")


@click.command()
@batch_id
def cancel(batch_id: str) -> None:
    """Cancel a batch: its waiting items, and its running predictions at Replicate."""
    _, batch = _open(batch_id)
    before = batch.progress()
    batch.cancel()
    click.echo(
        f"{batch_id} is canceled: {before.waiting:,} waited, {before.queued + before.running:,} were in flight"
    )


@click.command()
@batch_id
def retry(batch_id: str) -> None:
    """Make again what failed, was canceled or got a placeholder."""
    producer, batch = _open(batch_id)
    cost = dollars(batch.progress().cost_usd)
    again = batch.retry_failed()
    click.echo(f"{batch_id}: {count(again, 'item')} to be made again; {cost} spent so far")
    if again:
        say_if_no_worker(producer, f"`replibatch watch {batch_id}`")
