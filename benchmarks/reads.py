"""How often is the API asked for what has become of a prediction? 300 in flight, 12 s each, 900 prompts, one worker.

The limit on reads is the server's own, 3,000 a minute, and enforced; the raw client is spared it. The books of the
stand-in tell what was asked. The raw client polls in one row, and in the other has its POSTs held by the server
(`Prefer: wait`), which costs no read but hides the id for up to a minute: who dies then has paid for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from benchmarks.fleet import Fleet
from benchmarks.report import Table, publish, spread
from benchmarks.rivals import Run, Task, raw_client

PROMPTS, LIMIT, MODEL_SECONDS, READS_PER_MINUTE = 900, 300, 12.0, 3000
JITTER = 0.3


@click.command(help=__doc__)
@click.option("--runs", default=5, show_default=True, help="Of replibatch, for each row; the others run once.")
def main(runs: int) -> None:
    """All of them in turn, on one stand-in."""
    with Fleet(
        workers=1,
        concurrency=LIMIT,
        sandbox={"latency_seconds": MODEL_SECONDS, "creates_per_window": 1_000_000},
        environment={
            "REPLICATE_GLOBAL_MAX_CONCURRENT": str(LIMIT),
            "REPLICATE_REQUESTS_PER_MINUTE": "1000000",
            "REPLICATE_READS_PER_MINUTE": str(READS_PER_MINUTE),
        },
    ) as fleet:

        def measure(how: Callable[[Task], Run], task: Task) -> tuple[Run, dict[str, Any]]:
            fleet.reset_books()
            return how(task), fleet.books()

        ours = [measure(fleet.run, Task(f"ours-{number}", PROMPTS)) for number in range(runs)]
        fleet.set_sandbox(jitter=JITTER)
        uneven = [measure(fleet.run, Task(f"uneven-{number}", PROMPTS)) for number in range(runs)]
        fleet.set_sandbox(jitter=0.0, reads_per_minute=1_000_000)  # it would fail at once
        polling = [measure(raw_client, Task("raw-polling", PROMPTS, LIMIT, hold=False))]
        held = [measure(raw_client, Task("raw-held", PROMPTS, LIMIT))]
    rows = [
        _row("replibatch", ours),
        _row(f"replibatch, ± {JITTER:.0%} of 12 s", uneven),
        _row("raw client, polling, no limit", polling),
        _row("raw client, POSTs held", held),
    ]
    ideal = ["ideal", "", "", "", "", "", str(PROMPTS), f"{MODEL_SECONDS * PROMPTS / LIMIT:.1f}"]
    columns = ["", "runs", "reads a prediction", "most reads in a minute", "429s", "most in flight", "files"]
    publish("reads", __doc__, Table([*columns, "wall, s"], [ideal, *rows]))


def _row(name: str, measured: list[tuple[Run, dict[str, Any]]]) -> list[str]:
    return [
        name,
        str(len(measured)),
        spread([sum(books["reads_by_kind"].values()) / run.good for run, books in measured], 3),
        f"{max(books['most_reads_in_a_minute'] for _, books in measured):,}",
        str(max(books["throttled"] for _, books in measured)),
        str(max(books["peak_in_flight"] for _, books in measured)),
        str(min(run.good for run, _ in measured)),
        spread([run.wall_seconds for run, _ in measured], 1),
    ]


if __name__ == "__main__":
    main()
