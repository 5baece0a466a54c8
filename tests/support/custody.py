"""What the tests of custody share: work to do, and the proof that it was paid for once and none of it lost.

Told by the stand-in's books, the results and the files alone.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from redis import Redis

import replibatch
from replibatch import BatchRequest, BatchResult, Job
from replibatch.redisdb.connection import connect
from replibatch.sandbox import Sandbox
from tests.support.waiting import until

MODEL, PRICE_USD = "qwen/qwen-image", 0.025

Worker = subprocess.Popen[bytes]
Start = Callable[..., Worker]


def enqueue_jobs(count: int) -> list[Job]:
    """Single jobs: unlike a batch they all go to the queue at once, however few the account can use."""
    return [replibatch.enqueue(BatchRequest(f"p{number}", MODEL, f"{number}.webp")) for number in range(count)]


def check_each_once(results: Sequence[BatchResult], count: int, sandbox: Sandbox, files: Path) -> None:
    """Every request has its one result, was paid for once, and has its one file."""
    assert [result.error for result in results] == [None] * count
    billed = sandbox.books.billed_by_prompt()
    assert sandbox.books.paid_twice() == []
    assert set(billed.values()) == {1} and len(billed) == count
    assert {path.name for path in files.iterdir() if not path.name.startswith(".")} == {
        f"{number}.webp" for number in range(count)
    }
    assert all(result.cost_usd == pytest.approx(PRICE_USD) for result in results)


def is_recorded(redis_url: str, job: Job) -> bool:
    """Whether the job's prediction is in its record: from then on it is resumed by its id."""
    with Redis.from_url(redis_url) as redis:
        return any(redis.hexists(key, "prediction") for key in redis.scan_iter(f"rb:*:gen:{job.id}"))


def check_nothing_left(redis_url: str) -> None:
    """The account's keys that are there only while there is work are gone."""
    with connect(redis_url) as redis:
        until(lambda: leftovers(redis) == [], 20, f"nothing is left: {leftovers(redis)}")


def leftovers(redis: Redis) -> list[str]:
    """Those of them that are there."""
    kinds = ("slots", "granted", "creating", "waiters", "tickets", "queued", "canceling")
    return [
        key
        for key in redis.scan_iter("rb:*")
        if key.rpartition(":")[2] in kinds or ":custody:" in key or ":queued:" in key or key.endswith(":feeding")
    ]
