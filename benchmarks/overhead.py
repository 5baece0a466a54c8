"""What does a generation cost the machine? CPU of all processes but the stand-in, 50 in flight, 0.2 s each.

Producer, one worker with its children, and Redis, which keeps every acknowledged write; counted by the kernel until
half a second after the last result. 1,000 prompts a run; 200 for replicate-batch-process.
"""

from __future__ import annotations

import statistics

import click

from benchmarks.fleet import Fleet
from benchmarks.report import Table, publish, spread
from benchmarks.rivals import Run, Task, has_predecessor, predecessor, raw_client

PROMPTS, PREDECESSOR_PROMPTS, IN_FLIGHT, MODEL_SECONDS = 1_000, 200, 50, 0.2


@click.command(help=__doc__)
@click.option("--runs", default=5, show_default=True, help="Of replibatch and of the raw client.")
def main(runs: int) -> None:
    """All of them in turn, on one stand-in."""
    with Fleet(
        workers=1,
        concurrency=IN_FLIGHT + IN_FLIGHT // 4,
        sandbox={"latency_seconds": MODEL_SECONDS, "creates_per_window": 1_000_000, "reads_per_minute": 1_000_000},
        environment={
            "REPLICATE_GLOBAL_MAX_CONCURRENT": str(IN_FLIGHT),
            "REPLICATE_REQUESTS_PER_MINUTE": "1000000",
        },
    ) as fleet:
        fleet.run(Task("warm", 4 * IN_FLIGHT))
        ours = [fleet.run(Task(f"ours-{number}", PROMPTS)) for number in range(runs)]
        raw = [raw_client(Task(f"raw-{number}", PROMPTS, IN_FLIGHT)) for number in range(runs)]
        seed = [predecessor(Task("seed", PREDECESSOR_PROMPTS, IN_FLIGHT))] if has_predecessor() else []
    floor = statistics.median(run.cpu_ms_each for run in raw)
    rows = [_row("replibatch", ours, floor), _row("raw client", raw, floor)]
    if seed:
        rows.append(_row("replicate-batch-process", seed, floor))
    columns = ["", "runs", "CPU a generation, ms", "times the raw client's", "generations a second", "files"]
    shares = [
        [kind, spread([1000 * run.cpu_seconds[kind] / run.good for run in ours])] for kind in ours[0].cpu_seconds
    ]
    publish("overhead", __doc__, Table(columns, rows), Table(["replibatch", "CPU a generation, ms"], shares))


def _row(name: str, runs: list[Run], floor: float) -> list[str]:
    return [
        name,
        str(len(runs)),
        spread([run.cpu_ms_each for run in runs]),
        spread([run.cpu_ms_each / floor for run in runs]),
        spread([run.good / run.wall_seconds for run in runs], 0),
        str(min(run.good for run in runs)),
    ]


if __name__ == "__main__":
    main()
