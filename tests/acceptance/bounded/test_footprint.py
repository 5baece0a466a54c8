"""How much of Redis a finished generation takes, by Redis' own count."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery
from redis import Redis

import replibatch
from replibatch import BatchRequest
from replibatch.broker.app import celery_url
from replibatch.sandbox import Sandbox
from tests.support.waiting import until

COUNT = 60
MODEL = "qwen/qwen-image"
PROMPT = f"{'a lighthouse on a cliff at dusk, film grain, ' * 5:.200}"  # characters, as a careful prompt has
VIDEO_MODEL = "google/veo-3-fast"  # no other stands in for it
OF_AN_ITEM = re.compile(r"celery-task-meta-|:(gen|prediction|done):|:finished$")


@pytest.fixture
def redis(fleet: str) -> Iterator[Redis]:
    with Redis.from_url(fleet, decode_responses=True) as client:
        yield client


@pytest.fixture
def by_default(redis: Redis) -> Iterator[None]:
    """A Redis that keeps hashes as it comes, not as ours and the compose file's do."""
    ours: Any = redis.config_get("hash-max-ziplist-value")
    redis.config_set("hash-max-ziplist-value", 64)
    yield
    redis.config_set("hash-max-ziplist-value", ours["hash-max-ziplist-value"])


@pytest.mark.usefixtures("sandbox")
def test_a_finished_item_takes_less_than_two_kilobytes(redis: Redis, start_worker: Callable) -> None:
    start_worker()
    assert _bytes_of_a_success(redis) < 1800


@pytest.mark.usefixtures("sandbox", "by_default")
def test_in_a_redis_as_it_comes_it_takes_somewhat_more(redis: Redis, start_worker: Callable) -> None:
    start_worker()
    assert _bytes_of_a_success(redis) < 2300


def test_a_failure_takes_its_request_for_a_retry_and_no_traceback(
    redis: Redis, sandbox: Sandbox, start_worker: Callable
) -> None:
    start_worker(REPLIBATCH_PLACEHOLDER="false")
    sandbox.settings.broken_models = frozenset({VIDEO_MODEL})
    batch = replibatch.enqueue_batch([BatchRequest(f"{PROMPT} {n}", VIDEO_MODEL) for n in range(5)])
    assert not any(result.success for result in batch.results(timeout=60))
    assert _bytes_of(redis, re.compile("celery-task-meta-")) / 5 < 800


@pytest.mark.usefixtures("sandbox")
def test_of_a_batch_s_item_plain_celery_tells_the_outcome(redis: Redis, fleet: str, start_worker: Callable) -> None:
    start_worker()
    replibatch.enqueue_batch([BatchRequest("a lake", MODEL, "lake.webp")]).results(timeout=60)
    (key,) = redis.scan_iter("celery-task-meta-*")
    with Celery(backend=celery_url(fleet), set_as_current=False) as app:
        result = app.AsyncResult(key.removeprefix("celery-task-meta-")).get(timeout=30)
    assert result["success"] and result["file_paths"] == ["lake.webp"] and result["model_used"] == MODEL


def _bytes_of_a_success(redis: Redis) -> float:
    batch = replibatch.enqueue_batch([BatchRequest(f"{PROMPT} {n}", MODEL) for n in range(COUNT)])
    assert all(result.success for result in batch.results(timeout=60))
    until(lambda: not list(redis.scan_iter("rb:*:done:*")), what="what serves those who wait for it has gone")
    return _bytes_of(redis, OF_AN_ITEM) / COUNT


def _bytes_of(redis: Redis, kinds: re.Pattern[str]) -> int:
    keys = [key for key in redis.scan_iter(count=1000) if kinds.search(key)]
    assert keys
    return sum(redis.memory_usage(key, samples=0) for key in keys)
