"""What is added to one request of an idle fleet? To its start and to its end, one by one, one worker.

To its start: from the call to the POST's arrival at the stand-in, by a model of 50 ms. To its end: from the
prediction's completion at the stand-in to its file under its own name on the disk, by a model of 1 s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from benchmarks.fleet import Fleet
from benchmarks.report import Table, percentile, publish
from benchmarks.rivals import MODEL, Call, Task, has_predecessor, predecessor, raw_client
from replibatch import BatchRequest, enqueue

PAUSE_SECONDS = 0.1
SHORT_SECONDS, LONG_SECONDS = 0.05, 1.0


@click.command(help=__doc__)
@click.option("--starts", default=200, show_default=True, help="Calls to time the start of.")
@click.option("--ends", default=30, show_default=True, help="Predictions to time the end of.")
def main(starts: int, ends: int) -> None:
    """All of them in turn, on one stand-in for each part: the worker has seen no other model than that part's."""
    contenders: dict[str, Callable[[Task], Iterable[Call]]] = {
        "replibatch": _ours,
        "raw client": lambda task: raw_client(task).calls,
    }
    if has_predecessor():
        contenders["replicate-batch-process"] = lambda task: predecessor(task).calls
    with _fleet(SHORT_SECONDS) as fleet:
        _ours(_task("warm", 20))
        to_start = [
            _row(name, _starts(how(_task(f"start-{number}", starts)), fleet.predictions()))
            for number, (name, how) in enumerate(contenders.items())
        ]
    to_end = []
    with _fleet(LONG_SECONDS) as fleet:
        _ours(_task("warm", 5))
        for number, (name, how) in enumerate(contenders.items()):
            fleet.reset_books()
            calls = how(_task(f"end-{number}", ends))
            reads = sum(fleet.books()["reads_by_kind"].values()) / ends
            to_end.append([*_row(name, _ends(calls, fleet.predictions())), f"{reads:.2f}"])
    columns = ["calls", "p50, ms", "p99, ms", "most, ms"]
    publish(
        "latency",
        __doc__,
        Table(["call to POST", *columns], to_start),
        Table(["completion to file", *columns, "reads a prediction"], to_end),
    )


def _fleet(model_seconds: float) -> Fleet:
    return Fleet(
        workers=1,
        sandbox={
            "latency_seconds": model_seconds,
            "creates_per_window": 1_000_000,
            "reads_per_minute": 1_000_000,
        },
        environment={"REPLICATE_REQUESTS_PER_MINUTE": "1000000"},
    )


def _task(name: str, count: int) -> Task:
    return Task(name, count, one_by_one=True, pause_seconds=PAUSE_SECONDS)


def _ours(task: Task) -> list[Call]:
    """One job after the other; a file is saved when it appears under its name in the fleet's storage."""
    calls = []
    for prompt in task.prompts:
        name = f"{prompt.replace(' ', '-')}.webp"
        called_at = time.time()
        job = enqueue(BatchRequest(prompt, MODEL, name))
        result = job.result(timeout=60)
        assert result.success, result.error
        (stored,) = Path("files").rglob(name)
        # A rename is a change of the file: no write of a later moment hides it, and nobody has to poll for it.
        calls.append(Call(prompt, called_at, stored.stat().st_ctime))
        time.sleep(task.pause_seconds)
    return calls


def _starts(calls: Iterable[Call], predictions: dict[str, dict[str, Any]]) -> list[float]:
    return [_seconds(predictions[call.prompt]["created_at"]) - call.called_at for call in calls]


def _ends(calls: Iterable[Call], predictions: dict[str, dict[str, Any]]) -> list[float]:
    return [call.saved_at - _seconds(predictions[call.prompt]["completed_at"]) for call in calls]


def _seconds(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp()


def _row(name: str, seconds: list[float]) -> list[str]:
    shown = (percentile(seconds, 50), percentile(seconds, 99), max(seconds))
    return [name, str(len(seconds)), *(f"{1000 * value:.1f}" for value in shown)]


if __name__ == "__main__":
    main()
