"""Are slots idle? 600 prompts of a model that takes 2 s, 60 slots, two workers, by the stand-in's books.

Busy: slot-seconds in use up to the last create, over 60 times the span from the first create to the last. The ideal
is 10 rounds of 60; replicate-batch-process has fewer prompts to do, as its share of slots does not depend on them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from benchmarks.fleet import Fleet
from benchmarks.report import Table, publish, spread
from benchmarks.rivals import Run, Task, has_predecessor, predecessor, raw_client

WORKERS, LIMIT, PROMPTS, MODEL_SECONDS = 2, 60, 600, 2.0
PREDECESSOR_PROMPTS = 60
JITTER = 0.3


@click.command(help=__doc__)
@click.option("--runs", default=5, show_default=True, help="Of replibatch, for each row; the others run once.")
def main(runs: int) -> None:
    """All of them in turn, on one stand-in."""
    with Fleet(
        workers=WORKERS,
        concurrency=LIMIT,
        sandbox={"latency_seconds": MODEL_SECONDS, "creates_per_window": 1_000_000},
        environment={
            "REPLICATE_GLOBAL_MAX_CONCURRENT": str(LIMIT),
            "REPLICATE_REQUESTS_PER_MINUTE": "1000000",
        },
    ) as fleet:

        def measure(how: Callable[[Task], Run], name: str, prompts: int = PROMPTS) -> tuple[Run, dict[str, Any]]:
            fleet.reset_books()
            return how(Task(name, prompts, LIMIT)), fleet.books()

        fleet.run(Task("warm", LIMIT))
        rows = [
            _row("replibatch", [measure(fleet.run, f"ours-{number}") for number in range(runs)]),
            _row("raw client", [measure(raw_client, "raw")]),
        ]
        if has_predecessor():
            rows.append(_row("replicate-batch-process", [measure(predecessor, "seed", PREDECESSOR_PROMPTS)]))
        fleet.set_sandbox(jitter=JITTER)
        uneven = [measure(fleet.run, f"uneven-{number}") for number in range(runs)]
        rows.insert(1, _row(f"replibatch, ± {JITTER:.0%} of {MODEL_SECONDS:g} s", uneven))
    ideal = ["ideal", "", str(PROMPTS), str(LIMIT), "1.000", f"{MODEL_SECONDS * PROMPTS / LIMIT:.1f}", "0"]
    columns = ["", "runs", "prompts", "most in flight", "busy", "wall, s", "reads a prediction"]
    publish("slots", __doc__, Table(columns, [ideal, *rows]))


def _row(name: str, measured: list[tuple[Run, dict[str, Any]]]) -> list[str]:
    busy = []
    for _, books in measured:
        created = books["create_times"]
        busy.append(books["busy_slot_seconds"] / (LIMIT * (max(created) - min(created))))
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
