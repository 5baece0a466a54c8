"""`replibatch demo`: everything at work, with no token, no server and no cost."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from replibatch import catalog, lists
from replibatch.cli.consoles import stderr, stdout
from replibatch.cli.errors import FAILED, INTERRUPTED
from replibatch.cli.formatting import chain, dollars, short
from replibatch.cli.run.enqueue import Enqueuer, Options
from replibatch.cli.run.folder import OutputFolder
from replibatch.cli.run.plan import Plan
from replibatch.cli.run.runner import Runner
from replibatch.cli.run.tally import Tally, is_fallback
from replibatch.cli.stand_in import stand_in
from replibatch.requests import BatchResult
from replibatch.sandbox import Books, SandboxSettings
from replibatch.settings import Settings, load

LIMIT = 4
LATENCY_SECONDS = 1.2
START_SECONDS = 2.0  # of the worker
REFUSED = "a wish no model grants"
FLUX, BANANA, QWEN = "black-forest-labs/flux-dev", "google/nano-banana", "qwen/qwen-image"
IMAGEN, KONTEXT = "google/imagen-4-ultra", "black-forest-labs/flux-kontext-max"
ITEMS = (
    (FLUX, "A lighthouse above a sea of clouds at first light", "16:9"),
    (BANANA, "A paper boat sailing through a rain-soaked city street", "1:1"),
    (QWEN, f"The portrait of {REFUSED}", "16:9"),
    (IMAGEN, "An orchard in blossom, seen through an open kitchen window", "4:3"),
    (QWEN, "A night train crossing a viaduct under the milky way", "16:9"),
    (FLUX, "A greenhouse in winter, warm light behind frosted glass", "3:2"),
    (KONTEXT, "A tide pool like a small galaxy", "1:1"),
    (IMAGEN, "Terraced tea fields after the rain, mist in the valley", "16:9"),
    (QWEN, "A watchmaker's bench with a hundred tiny gears", "4:3"),
    (BANANA, "An old library with a river running between the shelves", "16:9"),
    (FLUX, "A red fox crossing fresh snow in a birch forest", "2:3"),
    (IMAGEN, "Hot-air balloons over salt flats at dusk", "16:9"),
)  # nano-banana is broken in the stand-in, so that another model stands in for it


@click.command()
@click.option(
    "--count", type=click.IntRange(1, 500), default=len(ITEMS), show_default=True, metavar="N", help="Items to make."
)
@click.option(
    "--output",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("replibatch-demo"),
    show_default=True,
    metavar="DIR",
    help="The folder for the files and the gallery.",
)
def demo(count: int, output: Path) -> None:
    """See it at work: no token, no server, no cost.

    Starts a Redis, a stand-in for Replicate and a worker, and makes a small batch with models that share one limit.
    One model is broken, so that another stands in for it; one prompt is refused by every model.
    """
    output = output.absolute()
    with tempfile.TemporaryDirectory(prefix="replibatch-demo-") as folder:
        settings = _own_settings(Path(folder))
        manifest = Path(folder, "demo.jsonl")
        manifest.write_text("".join(json.dumps(_line(number)) + "\n" for number in range(count)), encoding="utf-8")
        code = _demonstrate(settings, manifest, output)
    if code:
        click.get_current_context().exit(code)


def _line(number: int) -> dict[str, str]:
    model, prompt, aspect_ratio = ITEMS[number % len(ITEMS)]
    again = number // len(ITEMS)
    return {
        "prompt": f"{prompt}, study {again + 1}" if again else prompt,
        "model": model,
        "aspect_ratio": aspect_ratio,
    }


def _own_settings(folder: Path) -> Settings:
    """The defaults, a low limit, and a state folder apart; nothing that is set here, or in .env, reaches the demo."""
    state_dir = load().state_dir / "demo"
    for field in Settings.model_fields.values():
        os.environ.pop(str(field.alias), None)
    os.chdir(folder)
    return load(global_max_concurrent=LIMIT, state_dir=state_dir)


def _demonstrate(settings: Settings, manifest: Path, output: Path) -> int:
    behaviour = SandboxSettings(
        latency_seconds=LATENCY_SECONDS,
        jitter=0.4,
        broken_models=frozenset({BANANA}),
        sensitive_words=frozenset({REFUSED}),
    )
    console = stderr()
    console.print("Starting a Redis, a stand-in for Replicate and a worker.", style="dim")
    results: list[BatchResult] = []
    with ExitStack() as stack:
        producer, sandbox = stack.enter_context(stand_in(settings, behaviour))
        listing = stack.enter_context(lists.opened([str(manifest)], lists.Options(), catalog.load()))
        plan = Plan(listing, OutputFolder(output, producer.settings, play=True))
        survey = plan.survey(set())
        tally = Tally(survey.count, expected_seconds=survey.count * LATENCY_SECONDS / LIMIT + START_SECONDS)
        enqueuer = Enqueuer(plan, producer, Options(fresh=True), "demo")
        runner = Runner(
            plan.folder, producer, enqueuer, tally, "A demo of replibatch", console, on_result=results.append
        )
        code = runner.run(set())
        _close(stdout(), results, sandbox.books, plan.folder.gallery)
    if code == INTERRUPTED:
        return code
    as_planned = sum(result.success or result.placeholder for result in results)
    return 0 if as_planned == survey.count else FAILED


def _close(console: Console, results: list[BatchResult], books: Books, gallery: Path) -> None:
    """What was shown, and what the stand-in's own books say to it."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("model")
    for heading in ("asked", "made", "failed", "cost"):
        table.add_column(heading, justify="right")
    attempts = [attempt for result in results for attempt in result.attempts]
    for model in dict.fromkeys([result.model_name for result in results] + [attempt.model for attempt in attempts]):
        own = [attempt for attempt in attempts if attempt.model == model]
        counts = (
            sum(result.model_name == model for result in results),
            sum(attempt.outcome == "succeeded" for attempt in own),
            sum(attempt.outcome == "failed" for attempt in own),
        )
        table.add_row(model, *map(str, counts), dollars(sum(attempt.cost_usd or 0.0 for attempt in own)))
    console.print()
    console.print(table)
    console.print()
    fallback = next((result for result in results if is_fallback(result)), None)
    refused = next((result for result in results if result.placeholder), None)
    facts = [
        ("fallback", f"{short(str(fallback.model_used))} after {chain(fallback.attempts)}" if fallback else ""),
        ("placeholder", f"a black image after {chain(refused.attempts)}" if refused else ""),
        ("limit", f"{books.peak_in_flight} in flight at most, of {LIMIT} allowed"),
        ("paid", f"{dollars(books.cost_usd)} of play money, {len(books.paid_twice())} paid twice"),
        ("gallery", str(gallery)),
    ]
    width = max(len(name) for name, _ in facts)
    for name, fact in facts:
        if fact:
            console.print(Text.assemble((f"{name:<{width}}  ", "dim"), fact), soft_wrap=True)
