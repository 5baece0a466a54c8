"""The primary dies under real sentinels, in the midst of work; its replica goes on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from replibatch import BatchRequest, enqueue_batch
from replibatch.redisdb.calls import Patience
from replibatch.redisdb.connection import connect
from replibatch.sandbox import Sandbox
from tests.support import PROJECT
from tests.support.custody import MODEL, Start, check_each_once, check_nothing_left
from tests.support.sentinels import Sentinels
from tests.support.waiting import until

pytestmark = pytest.mark.chaos

COUNT, LIMIT, WORKERS, THREADS = 400, 20, 2, 25
USER, PASSWORD = "worker", "s3cret"


@pytest.fixture
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinels]:
    """With the worker's user that docs/deployment.md describes; a producer needs no more."""
    (rules,) = re.findall(rf"^user {USER} (.+)$", (PROJECT / "docs" / "deployment.md").read_text(), re.MULTILINE)
    made = Sentinels(tmp_path_factory.mktemp("redis"), (USER, rules.replace(">PASSWORD", f">{PASSWORD}").split()))
    yield made
    made.stop()


@pytest.fixture
def fleet(sentinels: Sentinels, monkeypatch: pytest.MonkeyPatch) -> str:
    url = sentinels.url(USER, PASSWORD)
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", url)
    return url


def test_a_call_under_way_goes_on_at_the_new_primary(fleet: str, sentinels: Sentinels) -> None:
    with (
        connect(fleet, longest_block_seconds=20, patience=Patience(60)) as redis,
        ThreadPoolExecutor(1) as thread,
    ):
        waits = thread.submit(redis.blpop, ["rb:any"], 20)
        until(lambda: redis.info("clients")["blocked_clients"] == 1, what="it is under way")
        sentinels.kill_primary()
        redis.rpush("rb:any", "thing")
        assert list(waits.result(10)) == ["rb:any", "thing"]


def test_a_failover_in_the_midst_of_a_batch(
    fleet: str,
    sentinels: Sentinels,
    sandbox: Sandbox,
    start_worker: Start,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("REPLIBATCH_LEASE_SECONDS", "5")
    monkeypatch.setenv("REPLIBATCH_SETTLE_SECONDS", "5")
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", str(LIMIT))
    monkeypatch.setenv("REPLICATE_REQUESTS_PER_MINUTE", "3000")
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "files"))
    sandbox.settings.latency_seconds = 1.0
    workers = [start_worker("--concurrency", str(THREADS)) for _ in range(WORKERS)]
    batch = enqueue_batch(BatchRequest(f"p{number}", MODEL, f"{number}.webp") for number in range(COUNT))
    until(lambda: len(sandbox.books.create_times) >= COUNT // 4, what="the batch is well under way")
    sentinels.kill_primary()
    check_each_once(batch.results(240.0), COUNT, sandbox, tmp_path / "files")
    assert sandbox.books.peak_in_flight <= LIMIT
    assert all(worker.poll() is None for worker in workers)
    check_nothing_left(fleet)
