"""Are slots idle? 600 prompts of a model that takes 2 s, 60 slots, two workers, by the stand-in's books.

Busy: slot-seconds in use up to the last create, over 60 times the span from the first create to the last. The ideal
is 10 rounds of 60; replicate-batch-process has fewer prompts to do, as its share of slots does not depend on them.
Another scenario is only printed: --workers 3 --limit 20 --prompts 300 --model-seconds 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from benchmarks.fleet import Fleet
from benchmarks.report import Table, publish, spread
from benchmarks.rivals import Run, Task, has_predecessor, predecessor, raw_client

MODEL_SECONDS, JITTER = 2.0, 0.3
PREDECESSOR_PROMPTS = 60


@click.command(help=__doc__)
@click.option("--runs", default=5, show_default=True, help="Of replibatch, for each row; the others run once.")
@click.option("--workers", default=2, show_default=True)
@click.option("--limit", default=60, show_default=True, help="Slots.")
@click.option("--prompts", default=600, show_default=True)
@click.option("--model-seconds", default=MODEL_SECONDS, show_default=True)
@click.pass_context
def main(context: click.Context, runs: int, workers: int, limit: int, prompts: int, model_seconds: float) -> None:
    """All of them in turn, on one stand-in."""
    with Fleet(
        workers=workers,
        concurrency=limit,
        sandbox={"latency_seconds": model_seconds, "creates_per_window": 1_000_000},
        environment={
            "REPLICATE_GLOBAL_MAX_CONCURRENT": str(limit),
            "REPLICATE_REQUESTS_PER_MINUTE": "1000000",
        },
    ) as fleet:

        def measure(how: Callable[[Task], Run], name: str, count: int = prompts) -> tuple[Run, dict[str, Any]]:
            fleet.reset_books()
            return how(Task(name, count, limit)), fleet.books()

        fleet.run(Task("warm", limit))
        measured = {
            "replibatch": [measure(fleet.run, f"ours-{number}") for number in range(runs)],
            "raw client": [measure(raw_client, "raw")],
        }
        if has_predecessor():
            measured["replicate-batch-process"] = [measure(predecessor, "seed", PREDECESSOR_PROMPTS)]
        fleet.set_sandbox(jitter=JITTER)
        uneven = f" ± {JITTER:.0%} of {model_seconds:g} s"
        measured["replibatch," + uneven] = [measure(fleet.run, f"uneven-{number}") for number in range(runs)]
        measured["raw client," + uneven] = [measure(raw_client, "uneven-raw")]
    ideal = ["ideal", "", str(prompts), str(limit), "1.000", f"{model_seconds * prompts / limit:.1f}", "0"]
    columns = ["", "runs", "prompts", "most in flight", "busy", "wall, s", "reads a prediction"]
    table = Table(columns, [ideal, *(_row(name, runs, limit) for name, runs in measured.items())])
    options = context.params.keys() - {"runs"}
    if all(context.get_parameter_source(name) is ParameterSource.DEFAULT for name in options):
        publish("slots", __doc__, table)
    else:
        print(table)


def _row(name: str, measured: list[tuple[Run, dict[str, Any]]], limit: int) -> list[str]:
    busy = []
    for _, books in measured:
        created = books["create_times"]
        busy.append(books["busy_slot_seconds"] / (limit * (max(created) - min(created))))
    return [
        name,
        str(len(measured)),
        str(measured[0][0].good),
        str(max(books["peak_in_flight"] for _, books in measured)),
        spread(busy, 3),
        spread([run.wall_seconds for run, _ in measured], 1),
        spread([sum(books["reads_by_kind"].values()) / run.good for run, books in measured]),
    ]


if __name__ == "__main__":
    main()
