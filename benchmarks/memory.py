"""How large is a worker with 300 predictions in flight, and does one worker take 1,000? Resident memory, 20 s each.

The worker with its children, new in each run, looked at while all of them are in flight by the stand-in's books; the
raw client's is the most it ever had.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import click

from benchmarks.fleet import RESULT_SECONDS, Fleet
from benchmarks.report import Table, publish, spread
from benchmarks.rivals import MODEL, Task, raw_client
from replibatch import BatchRequest, enqueue_batch

SIZES, MODEL_SECONDS = (300, 1_000), 20.0


class Seen(NamedTuple):
    """Of one worker: its size idle and at its largest, the most it had in flight, the files there are in the end."""

    idle_mib: float
    most_mib: float
    reached: int
    good: int


@click.command(help=__doc__)
@click.option("--runs", default=5, show_default=True, help="Of replibatch, for each size; the raw client runs once.")
def main(runs: int) -> None:
    """Each size in turn, with a fleet of its own."""
    rows = []
    for in_flight in SIZES:
        measured = [_ours(in_flight) for _ in range(runs)]
        rows.append(
            [
                "replibatch",
                f"{min(seen.reached for seen in measured):,}",
                str(runs),
                spread([seen.idle_mib for seen in measured], 0),
                spread([seen.most_mib for seen in measured], 0),
                f"{min(seen.good for seen in measured):,}",
            ]
        )
        with _fleet(in_flight, workers=0) as fleet:
            raw = raw_client(Task("raw", in_flight, in_flight))
            reached = fleet.books()["peak_in_flight"]
        rows.append(["raw client", f"{reached:,}", "1", "", f"{raw.peak_rss_mib:.0f}", f"{raw.good:,}"])
    columns = ["", "most in flight", "runs", "idle, MiB", "in flight, MiB", "files"]
    publish("memory", __doc__, Table(columns, rows))


def _fleet(in_flight: int, workers: int) -> Fleet:
    return Fleet(
        workers=workers,
        concurrency=in_flight,
        sandbox={"latency_seconds": MODEL_SECONDS, "creates_per_window": 1_000_000, "reads_per_minute": 1_000_000},
        environment={
            "REPLICATE_GLOBAL_MAX_CONCURRENT": str(in_flight),
            "REPLICATE_REQUESTS_PER_MINUTE": "1000000",
        },
    )


def _ours(in_flight: int) -> Seen:
    """A new worker, that many requests, and a look at both as they go."""
    with _fleet(in_flight, workers=1) as fleet:
        idle = fleet.worker_rss_mib()
        batch = enqueue_batch([BatchRequest(f"p{number}", MODEL) for number in range(in_flight)])
        most, reached = 0.0, 0
        ends = time.monotonic() + MODEL_SECONDS + RESULT_SECONDS
        while not batch.progress().succeeded and time.monotonic() < ends:
            now = fleet.books()["in_flight"]
            if now >= reached:
                reached, most = now, max(most, fleet.worker_rss_mib())
            time.sleep(0.2)
        results = batch.results(timeout=RESULT_SECONDS)
        return Seen(idle, max(most, fleet.worker_rss_mib()), reached, sum(result.success for result in results))


if __name__ == "__main__":
    main()
