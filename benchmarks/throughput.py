"""How long do 300 prompts of a model that takes 1 s wait for their files? A limit of 300 in flight, one warm worker.

The limit of creates a minute is set so high that it has no part in it.
"""

from __future__ import annotations

import click

from benchmarks.fleet import Fleet
from benchmarks.report import Table, publish, spread
from benchmarks.rivals import Run, Task, has_predecessor, predecessor, raw_client

PROMPTS, LIMIT, MODEL_SECONDS = 300, 300, 1.0
IDEAL_SECONDS = MODEL_SECONDS * -(-PROMPTS // LIMIT)
BEST_POOL_THREADS = 32  # of replicate-batch-process, as measured; its own choice is the cores and 4


@click.command(help=__doc__)
@click.option("--runs", default=5, show_default=True, help="Of replibatch and of the raw client.")
@click.option("--predecessor-runs", default=1, show_default=True, help="Of replicate-batch-process: a minute each.")
def main(runs: int, predecessor_runs: int) -> None:
    """All of them in turn, on one stand-in."""
    with Fleet(
        workers=1,
        concurrency=LIMIT,
        sandbox={"latency_seconds": MODEL_SECONDS, "creates_per_window": 1_000_000, "reads_per_minute": 1_000_000},
        environment={
            "REPLICATE_GLOBAL_MAX_CONCURRENT": str(LIMIT),
            "REPLICATE_REQUESTS_PER_MINUTE": "1000000",
        },
    ) as fleet:
        fleet.run(Task("warm", LIMIT))
        contenders = {
            "replibatch": [fleet.run(Task(f"ours-{number}", PROMPTS)) for number in range(runs)],
            "raw client": [raw_client(Task(f"raw-{number}", PROMPTS, LIMIT)) for number in range(runs)],
        }
        if has_predecessor() and predecessor_runs:
            seed = "replicate-batch-process"
            contenders[f"{seed}, {BEST_POOL_THREADS} threads"] = [
                predecessor(Task(f"seed-{number}", PROMPTS, LIMIT, threads=BEST_POOL_THREADS))
                for number in range(predecessor_runs)
            ]
            contenders[seed] = [
                predecessor(Task(f"seed-own-{number}", PROMPTS, LIMIT)) for number in range(predecessor_runs)
            ]
    ideal = ["ideal", "", f"{IDEAL_SECONDS:.2f}", "1.0", "", ""]
    columns = ["", "runs", "wall, s", "times the ideal", "CPU a generation, ms", "files"]
    publish("throughput", __doc__, Table(columns, [ideal, *(_row(*each) for each in contenders.items())]))


def _row(name: str, runs: list[Run]) -> list[str]:
    walls = [run.wall_seconds for run in runs]
    return [
        name,
        str(len(runs)),
        spread(walls),
        spread([wall / IDEAL_SECONDS for wall in walls], 1),
        spread([run.cpu_ms_each for run in runs], 1),
        str(min(run.good for run in runs)),
    ]


if __name__ == "__main__":
    main()
