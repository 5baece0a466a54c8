"""The cleanup thread: what nobody can need any more goes, what anybody may need stays."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from structlog.testing import capture_logs

from replibatch.broker.app import make_app
from replibatch.broker.publish import SINGLE
from replibatch.broker.results import ResultBackend
from replibatch.execution.cleanup import MARGIN_SECONDS, Cleanup
from replibatch.execution.context import WorkerContext
from replibatch.requests import BatchResult, RoutedRequest, State
from replibatch.sandbox import Sandbox
from replibatch.settings import load
from replibatch.storage.shared import mark
from tests.support.catalogue import FLUX
from tests.support.sandbox_caller import wait_for

DAY_SECONDS = 24 * 3600
KEEP_SECONDS = 2 * DAY_SECONDS + MARGIN_SECONDS


@pytest.fixture
def open_shop(redis_url: str, tmp_path: Path) -> Iterator[Callable[..., WorkerContext]]:
    """Opens a worker's context on a folder, with files kept for two days."""
    with Sandbox() as sandbox:

        def one(**given: Any) -> WorkerContext:
            settings = load(
                replicate_api_token="r8_of_the_tests",
                replicate_base_url=sandbox.url,
                redis_url=redis_url,
                storage_url=str(tmp_path / "storage"),
                keep_days=2,
                **given,
            )
            results = ResultBackend(make_app(settings, redis_url))
            return WorkerContext(settings, redis_url, results, embedded=False, report={}, leave=lambda: None)

        yield one


@pytest.fixture
def context(open_shop: Callable[..., WorkerContext]) -> WorkerContext:
    """A worker's context."""
    return open_shop()


def kept(context: WorkerContext, content: bytes, seconds_ago: float, storage: Path) -> Path:
    """A reference image that an account keeps, as if that long ago."""
    name = context.storage.keep_input([content], "png").removeprefix("file:")
    (path,) = storage.glob(f".replibatch/inputs/{context.settings.account}@*/{name}")
    then = time.time() - seconds_ago
    os.utime(path, (then, then))
    return path


@pytest.fixture
def keep(context: WorkerContext, tmp_path: Path) -> Callable[[bytes, float], Path]:
    """Keeps a reference image, as if that long ago; returns the file."""
    return lambda content, seconds_ago: kept(context, content, seconds_ago, tmp_path / "storage")


@pytest.fixture
def work(context: WorkerContext) -> Iterator[Callable[[], None]]:
    """Lets a cleanup of the fleet make rounds until it has looked for images to remove."""
    keepers: list[Cleanup] = []

    def until_looked() -> None:
        key = f"{context.jobs.prefix}inputs:removing"
        context.redis.delete(key)
        keepers.append(Cleanup(context, None, round_seconds=0.01))
        keepers[-1].start()
        wait_for(lambda: bool(context.redis.exists(key)), seconds=30)
        keepers[-1].stop()

    yield until_looked


def test_images_are_removed_once_they_are_older_than_results_are_kept(keep, work):
    old, young = keep(b"old", KEEP_SECONDS + 60), keep(b"young", KEEP_SECONDS - 60)
    work()
    assert (old.exists(), young.exists()) == (False, True)


def test_another_account_s_images_in_the_same_storage_are_left_to_its_own_workers(open_shop, tmp_path, keep, work):
    other = open_shop(account="other")
    theirs = kept(other, b"old", KEEP_SECONDS + 60, tmp_path / "storage")
    mine = keep(b"old", KEEP_SECONDS + 60)
    work()
    assert (mine.exists(), theirs.exists()) == (False, True)
    with other.storage.open_input(f"file:{theirs.name}") as image:
        assert image.read_bytes() == b"old"


def test_an_image_that_a_batch_or_a_job_may_still_name_is_left(context, keep, work):
    days = 10 * DAY_SECONDS
    image, old = keep(b"image", days), keep(b"old", days + 2 * MARGIN_SECONDS)
    context.batches.open("slow", max_concurrent=None, priority=SINGLE, about={})
    context.redis.zadd(f"{context.jobs.prefix}batches", {"slow": (time.time() - days) * 1000})
    work()
    assert (old.exists(), image.exists()) == (False, True)
    context.redis.delete(f"{context.jobs.prefix}batch:slow")  # as when its records have expired
    context.jobs.enqueue("job", RoutedRequest("job", "a fox", FLUX, FLUX, {}, (), "fox.png"), {}, priority=SINGLE)
    context.redis.zadd(f"{context.jobs.prefix}asked", {"job": (time.time() - days) * 1000})
    work()
    assert image.exists()
    record = context.jobs.take("job", 1)  # it runs, fails, and its next attempt is published only now
    assert record is not None
    assert context.jobs.advance(record, FLUX, [], 0.0)
    work()
    assert image.exists()
    record = context.jobs.take("job", 2)
    assert record is not None
    work()
    assert image.exists()
    result = BatchResult("job", "a fox", FLUX, FLUX, True)
    context.jobs.settle(record, State.SUCCEEDED, result)
    work()
    assert not image.exists()


def test_one_of_a_fleet_looks_at_a_time(context: WorkerContext, redis_url: str, tmp_path: Path, keep, work) -> None:
    work()
    old = keep(b"old", KEEP_SECONDS + 60)
    keeper = Cleanup(context, "identity", round_seconds=0.01)
    keeper.start()
    for _ in range(2):  # it marks the storage first in every round, so by the second mark a round is over
        (tmp_path / "storage/.replibatch/storage-id").unlink(missing_ok=True)
        wait_for(lambda: context.storage.identity() is not None, seconds=30)
    keeper.stop()
    assert old.exists()
    with Redis.from_url(redis_url) as redis:
        assert 0 < redis.ttl(f"{context.jobs.prefix}inputs:removing") <= 3600


def test_a_storage_that_was_deleted_is_the_same_one_again(context: WorkerContext, tmp_path: Path) -> None:
    identity = mark(context.storage, {})["storage"]
    keeper = Cleanup(context, identity, round_seconds=0.01)
    keeper.start()
    try:
        shutil.rmtree(tmp_path / "storage", ignore_errors=True)
        wait_for(lambda: context.storage.identity() == identity, seconds=30)
    finally:
        keeper.stop()


def test_another_storage_in_its_place_is_told_and_left_as_it_is(context: WorkerContext) -> None:
    theirs = mark(context.storage, {})["storage"]
    keeper = Cleanup(context, "this worker's", round_seconds=0.01)
    with capture_logs() as said:
        keeper.start()
        wait_for(lambda: any("another storage stands in the place" in entry["event"] for entry in said), seconds=30)
        keeper.stop()
    assert context.storage.identity() == theirs
