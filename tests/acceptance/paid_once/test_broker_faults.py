"""What the broker does to its messages and connections: each generation is paid for once, and soon."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from redis import Redis

from replibatch import Job
from replibatch.broker.publish import SINGLE, queue_lists
from replibatch.sandbox import Sandbox
from replibatch.settings import load
from tests.support.custody import Start, Worker, check_each_once, check_nothing_left, enqueue_jobs
from tests.support.redis_server import RedisServer
from tests.support.waiting import busy_seconds, until

pytestmark = pytest.mark.chaos

LEASE_SECONDS = 4
DELAY_SECONDS = LEASE_SECONDS + 5.0  # the most a fault may cost
LIMIT, COUNT = 10, 60
RUNS_SECONDS = 1.0  # a prediction
DEADLINE_SECONDS = 60.0


@pytest.fixture
def fleet(durable_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A Redis that keeps its data, whatever happens to it."""
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", durable_redis.url)
    return durable_redis.url


@pytest.fixture(autouse=True)
def short_lease(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, tmp_path: Path) -> None:
    monkeypatch.setenv("REPLIBATCH_LEASE_SECONDS", str(LEASE_SECONDS))
    monkeypatch.setenv("REPLIBATCH_SETTLE_SECONDS", "3")
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", str(LIMIT))
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "files"))
    sandbox.settings.latency_seconds = RUNS_SECONDS


@pytest.fixture
def workers(start_worker: Start) -> list[Worker]:
    """Two, that wait for work."""
    return [start_worker("--concurrency", "20") for _ in range(2)]


def check(jobs: Sequence[Job], workers: Sequence[Worker], sandbox: Sandbox, files: Path, redis_url: str) -> float:
    """One payment, one result, and the workers live; returns when the last result was there."""
    results = [job.result(DEADLINE_SECONDS) for job in jobs]
    over_at = time.time()
    check_each_once(results, len(jobs), sandbox, files)
    assert sandbox.books.peak_in_flight <= LIMIT
    check_nothing_left(redis_url)
    assert [worker.poll() for worker in workers] == [None] * len(workers), "they live"
    return over_at


def check_delay(began_at: float, over_at: float, sandbox: Sandbox) -> None:
    """No fault has held up anything for longer than promised: what it held up would be the only thing left to do."""
    moments = sorted([began_at, *sandbox.books.create_times, over_at])
    longest_pause = max(later - earlier for earlier, later in pairwise(moments))
    assert longest_pause < DELAY_SECONDS + RUNS_SECONDS + busy_seconds()


def take_messages(redis: Redis) -> list[bytes]:
    """Take every message out of the queue, oldest first."""
    name = queue_lists(load())[SINGLE]
    with redis.pipeline() as pipeline:
        messages, _ = pipeline.lrange(name, 0, -1).delete(name).execute()
    return list(reversed(messages))


@pytest.mark.chaos_sample
def test_every_message_delivered_twice_at_once(
    fleet: str, start_worker: Start, sandbox: Sandbox, tmp_path: Path
) -> None:
    jobs = enqueue_jobs(COUNT)
    with Redis.from_url(fleet) as redis:
        messages = take_messages(redis)
        assert len(messages) == COUNT
        workers = [start_worker("--concurrency", "40") for _ in range(2)]
        redis.lpush(queue_lists(load())[SINGLE], *[copy for message in messages for copy in (message, message)])
    began_at = time.time()
    over_at = check(jobs, workers, sandbox, tmp_path / "files", fleet)
    check_delay(began_at, over_at, sandbox)
    assert len(sandbox.books.post_times) == COUNT


def test_every_connection_killed_again_and_again(
    fleet: str, workers: list[Worker], sandbox: Sandbox, tmp_path: Path
) -> None:
    began_at = time.time()
    jobs = enqueue_jobs(COUNT)
    kills = {"normal": 0, "pubsub": 0}
    with Redis.from_url(fleet) as redis:
        for done in range(LIMIT, COUNT - LIMIT, LIMIT):
            until(lambda done=done: len(sandbox.books.create_times) > done, what="it goes on")  # type: ignore[misc]
            for kind in kills:
                kills[kind] += redis.client_kill_filter(_type=kind, skipme=True)
    assert min(kills.values()) >= len(workers), kills
    over_at = check(jobs, workers, sandbox, tmp_path / "files", fleet)
    check_delay(began_at, over_at, sandbox)


def test_away_for_ten_seconds_with_work_in_flight(
    fleet: str, workers: list[Worker], durable_redis: RedisServer, sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.settings.latency_seconds = 5.0  # so that most of the work is left when Redis goes
    jobs = enqueue_jobs(COUNT)
    until(lambda: sandbox.books.in_flight == LIMIT, what="every slot is in use")
    durable_redis.kill()
    sandbox.settings.latency_seconds = RUNS_SECONDS
    time.sleep(10)  # the fault itself
    before = len(sandbox.books.create_times)
    durable_redis.restart()
    back_at = time.time()
    until(lambda: len(sandbox.books.create_times) >= before + LIMIT, what="every slot is in use again")
    assert sorted(sandbox.books.create_times)[before + LIMIT - 1] - back_at < DELAY_SECONDS + busy_seconds()
    check(jobs, workers, sandbox, tmp_path / "files", fleet)


@pytest.mark.parametrize("lost", ["some", "all"])
def test_messages_lost_between_the_pop_and_the_task(
    lost: str, fleet: str, start_worker: Start, sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.settings.latency_seconds = 0.2
    jobs = enqueue_jobs(COUNT)
    with Redis.from_url(fleet) as redis:
        messages = take_messages(redis)
        if lost == "some":
            redis.lpush(queue_lists(load())[SINGLE], *messages[1::3])
    workers = [start_worker("--concurrency", "20") for _ in range(2)]
    began_at = time.time()
    over_at = check(jobs, workers, sandbox, tmp_path / "files", fleet)
    check_delay(began_at, over_at, sandbox)


@pytest.mark.parametrize("how", ["gone", "frozen"])
def test_a_worker_told_to_stop_while_redis_is_away_goes_within_seconds(
    how: str,
    fleet: str,
    start_worker: Start,
    durable_redis: RedisServer,
    sandbox: Sandbox,
    tmp_path: Path,
) -> None:
    first = start_worker("--concurrency", "20")
    jobs = enqueue_jobs(COUNT)
    until(lambda: len(sandbox.books.create_times) > LIMIT, what="it is under way")
    if how == "gone":
        durable_redis.kill()
    else:
        durable_redis.process.send_signal(signal.SIGSTOP)
    until(lambda: sandbox.books.in_flight == 0, what="its threads want to tell Redis")
    began = time.monotonic()
    first.send_signal(signal.SIGTERM)
    try:
        assert first.wait(30) == 0
        assert time.monotonic() - began < 5 + busy_seconds()
    finally:
        durable_redis.process.send_signal(signal.SIGCONT) if how == "frozen" else durable_redis.restart()
    second = start_worker("--concurrency", "20")
    check(jobs, [second], sandbox, tmp_path / "files", fleet)
