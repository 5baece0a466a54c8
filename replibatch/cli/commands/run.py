"""`replibatch run`: the main job."""

from __future__ import annotations

import json
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import click

from replibatch.cli.account import open_account
from replibatch.cli.consoles import stderr
from replibatch.cli.options import allows_fallback, shared
from replibatch.cli.run.enqueue import Enqueuer, Options
from replibatch.cli.run.estimate import estimate
from replibatch.cli.run.list_options import list_options, options_from
from replibatch.cli.run.plan import name_of, planned_for
from replibatch.cli.run.runner import Runner
from replibatch.cli.run.tally import Tally
from replibatch.cli.run.understood import confirm, lines_of
from replibatch.cli.stand_in import stand_in
from replibatch.errors import SettingsError
from replibatch.producer import Producer
from replibatch.requests import OnOutage
from replibatch.sandbox import SandboxSettings
from replibatch.settings import Settings, load

NO_ACCOUNT = (
    "REPLICATE_API_TOKEN is not set; put it into the environment or into .env; "
    "with --sandbox the same command runs on a stand-in for Replicate, and costs nothing"
)


@click.command()
@shared
@list_options
@click.option("--dry-run", is_flag=True, help="Show what would be made, what it costs and how long it takes.")
@click.option("--json", "as_json", is_flag=True, help="Results as JSON lines on stdout, a summary last.")
@click.option("--sandbox", "on_sandbox", is_flag=True, help="Use a stand-in for Replicate: no token, no cost.")
def run(on_sandbox: bool, **arguments: Any) -> None:
    """Make every item of FILE into DIR.

    FILE has a prompt a line (.txt), or is a table or JSON (.csv, .tsv, .json, .jsonl, .xlsx, .parquet) with `prompt`
    and, where wanted, `model`, `output`, `id` and any input of the model; a folder of texts or pictures; or `-`,
    standard input. Before anything starts it says what it understood; --dry-run says that alone.

    The same command again goes on where the last one ended: finished items are not made again, and
    running predictions are not paid for again. Ctrl-C pauses.

    \b
    Exit codes: 0 every item succeeded, 1 some did not, 2 a mistake found before anything was spent,
    130 paused by Ctrl-C.
    """

    settings = load()
    with ExitStack() as stack:
        if on_sandbox:
            producer, _ = stack.enter_context(stand_in(settings, SandboxSettings()))
            code = _run(producer.settings, producer, play=True, **arguments)
        else:
            code = _run(settings, None, play=False, **arguments)
    if code:
        click.get_current_context().exit(code)


def _run(
    settings: Settings,
    producer: Producer | None,
    *,
    play: bool,
    files: tuple[str, ...],
    output: Path,
    max_concurrent: int | None,
    max_cost: float | None,
    no_fallback: bool,
    on_outage: OnOutage,
    fresh: bool,
    overwrite: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    **asked: Any,
) -> int:
    fallback = allows_fallback(no_fallback=no_fallback, on_outage=on_outage)
    if not dry_run and settings.redis_url is None and settings.replicate_api_token is None:
        raise SettingsError(NO_ACCOUNT)
    of_list = options_from(asked, fallback=fallback)
    account = cache(lambda: producer or open_account())
    console = stderr()
    with planned_for(settings, files, of_list, output, fresh=fresh, overwrite=overwrite, play=play) as (plan, made):
        with console.status("Checking the list"):
            survey = plan.survey(made, account)
            ahead = estimate(survey, account(), max_concurrent)
        if dry_run:
            lines = [*lines_of(survey.understanding), *ahead.lines()]
            click.echo(json.dumps(ahead.to_json(), ensure_ascii=False) if as_json else "\n".join(lines))
            return 0
        click.echo("\n".join(lines_of(survey.understanding)), err=True)
        if not as_json:
            click.echo(ahead.headline(), err=True)
        if not play:
            confirm(None if survey.unpriced else survey.cost_usd, settings.confirm_usd, yes=yes)
        options = Options(max_concurrent, max_cost, fallback, on_outage, fresh)
        name = name_of(files)
        enqueuer = Enqueuer(plan, account(), options, name)
        tally = Tally(survey.count, survey.made, ahead.seconds, ahead.per_window, ahead.window_seconds)
        title = f"{name} (play: made by a stand-in)" if play else name
        return Runner(plan.folder, account(), enqueuer, tally, title, console, as_json=as_json).run(made)
