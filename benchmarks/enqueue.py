"""What a waiting request costs: bytes in Redis, time and memory of the process that submits it.

`python -m benchmarks.enqueue [COUNT …]`, by default 20,000 and 200,000: each count is submitted by a process of its
own, once from Python (a generator) and once with `replibatch submit`, to an empty Redis without persistence or
workers. Prompts are about 100 characters. Memory is the peak of the process, bytes what Redis' own count grows by.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from redis import Redis

from benchmarks.fleet import Fleet

COUNTS = (20_000, 200_000)
PROMPT = "a red fox crossing fresh snow in a birch forest at dawn, soft light, 35mm, highly detailed, number"
FROM_PYTHON = f"""
import sys
from replibatch import BatchRequest, enqueue_batch
enqueue_batch(BatchRequest(f"{PROMPT} {{n}}", "qwen/qwen-image") for n in range(int(sys.argv[1])))
"""


def main(counts: list[int]) -> None:
    """Measure each count both ways, and print a line for each."""
    print(f"{'way':<12} {'requests':>10} {'a second':>10} {'bytes each':>11} {'peak MiB':>9}")
    for way in ("enqueue_batch", "submit"):
        for count in counts:
            with Fleet(workers=0, durable=False) as fleet:
                _measure(fleet, way, count)


def _measure(fleet: Fleet, way: str, count: int) -> None:
    command = [sys.executable, "-c", FROM_PYTHON, str(count)]
    if way == "submit":
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
    print(f"{way:<12} {count:>10,} {count / seconds:>10,.0f} {each:>11,.0f} {peak:>9,.0f}", flush=True)


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or list(COUNTS))
