"""Redis dies in the midst of `enqueue`: the error says what became of the job, and asking again gives one job."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from replibatch import BatchRequest, Client, Job, NoSuchWork, QueueUnavailable
from replibatch.broker.publish import queue_lists
from tests.support.redis_server import RedisServer

MODEL = "qwen/qwen-image"


@pytest.mark.parametrize("kills", [8, pytest.param(200, marks=pytest.mark.chaos)], ids=["a few", "many"])
def test_killed_at_random_moments(kills: int, durable_redis: RedisServer, tmp_path: Path) -> None:
    chance = random.Random(7)
    said: Counter[bool | str | None] = Counter()
    with Client(redis_url=durable_redis.url, storage_url=str(tmp_path)) as client:
        client.enqueue(BatchRequest("the first", MODEL))
        for number in range(kills):
            request = BatchRequest("a fox", MODEL, request_id=f"order-{number}")
            killer = threading.Timer(chance.uniform(0.0, 0.006), durable_redis.kill)
            killer.start()
            try:
                time.sleep(chance.uniform(0.0, 0.004))
                job_id = client.enqueue(request).id
                accepted: bool | None = True
                said["returned"] += 1
            except QueueUnavailable as error:
                accepted, job_id = error.accepted, error.job_id
                said[accepted] += 1
            killer.join()
            durable_redis.restart()
            try:
                is_there = client.job(request_id=f"order-{number}").id
            except NoSuchWork:
                is_there = None
            if accepted is not None:
                assert (is_there is not None) == accepted, f"it said {accepted} of order {number}"
            again = client.enqueue(request)
            assert again.id == (job_id or again.id) and is_there in (None, again.id)
        _check_that_each_is_published(client, kills)
    assert sum(said.values()) == kills


def _check_that_each_is_published(client: Client, kills: int) -> None:
    """Every job is recorded once, and has a message, or is in this process's custody, which lives."""
    producer = client.producer_with()
    ids = {client.job(request_id=f"order-{number}").id for number in range(kills)}
    assert len(ids) == kills
    assert len(list(producer.redis.scan_iter(f"{producer.jobs.prefix}gen:*"))) == kills + 1
    deadline = time.monotonic() + 20
    lists = queue_lists(producer.settings).values()
    while time.monotonic() < deadline:
        waiting = "".join(text for name in lists for text in producer.redis.lrange(name, 0, -1))
        if all(each in waiting for each in ids):
            return
        time.sleep(0.1)
    pytest.fail("a job that was accepted has no message in the queue")


def test_one_that_is_away_accepts_nothing_and_says_so(tmp_path: Path) -> None:
    with Client(redis_url="redis://127.0.0.1:1/0", storage_url=str(tmp_path)) as client:
        with pytest.raises(QueueUnavailable, match="nothing was accepted") as away:
            client.enqueue(BatchRequest("a fox", MODEL))
        assert away.value.accepted is False and "127.0.0.1:1" in str(away.value)
        for call in (client.get_global_status, lambda: Job(client.producer_with(), "x").status()):
            with pytest.raises(QueueUnavailable):
                call()
