"""What does a waiting request cost? Bytes in Redis, time and memory of the process that submits it.

Each count is submitted by a process of its own, once from Python (a generator) and once with `replibatch submit`, to
an empty Redis without persistence or workers. Prompts are about 100 characters. Memory is the peak of the process,
bytes what Redis' own count grows by.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import click
from redis import Redis

from benchmarks.fleet import Fleet
from benchmarks.report import Table, publish

COUNTS = (20_000, 200_000, 1_000_000)
WAYS = ("enqueue_batch", "replibatch submit")
PROMPT = "a red fox crossing fresh snow in a birch forest at dawn, soft light, 35mm, highly detailed, number"
FROM_PYTHON = f"""
import sys
from replibatch import BatchRequest, enqueue_batch
enqueue_batch(BatchRequest(f"{PROMPT} {{n}}", "qwen/qwen-image") for n in range(int(sys.argv[1])))
"""


@click.command(help=__doc__)
@click.option("--largest", default=COUNTS[-1], show_default=True, help="No more requests than this.")
def main(largest: int) -> None:
    """Each way, each count."""
    rows = []
    for way in WAYS:
        for count in COUNTS:
            if count <= largest:
                with Fleet(workers=0, durable=False) as fleet:
                    rows.append(_measure(fleet, way, count))
    table = Table(["way", "requests", "a second", "bytes each", "peak, MiB"], rows)
    if largest >= COUNTS[-1]:
        publish("enqueue", __doc__, table)
    else:
        print(table)


def _measure(fleet: Fleet, way: str, count: int) -> list[str]:
    command = [sys.executable, "-c", FROM_PYTHON, str(count)]
    if way != WAYS[0]:
        with Path("prompts.txt").open("w") as file:
            file.writelines(f"{PROMPT} {number}\n" for number in range(count))
        command = [sys.executable, "-m", "replibatch", "submit", "prompts.txt", "-m", "qwen/qwen-image", "-o", "out"]
    with Redis.from_url(fleet.redis_url) as redis:
        before = redis.info("memory")["used_memory"]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        assert status == 0, f"{way} of {count}: wait status {status}"
        waiting = sum(redis.llen(key) for key in redis.scan_iter("rb:*:pending"))
        each = (redis.info("memory")["used_memory"] - before) / waiting
    peak = usage.ru_maxrss / 1024 if sys.platform == "linux" else usage.ru_maxrss / 1024**2
    return [f"`{way}`", f"{count:,}", f"{count / seconds:,.0f}", f"{each:,.0f}", f"{peak:,.0f}"]


if __name__ == "__main__":
    main()
