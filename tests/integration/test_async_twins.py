"""What a caller inside an event loop awaits tells the same as what any other calls."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from replibatch import BatchRequest, enqueue, enqueue_batch
from replibatch.errors import ResultTimeout
from replibatch.requests import State
from tests.support.catalogue import FLUX


@pytest.fixture(autouse=True)
def fleet_without_workers(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", redis_url)
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "storage"))


def test_of_a_job() -> None:
    job = enqueue(BatchRequest("a fox", FLUX))

    async def own_it() -> None:
        assert await job.astatus() == job.status() == State.QUEUED
        with pytest.raises(ResultTimeout):
            await job.aresult(0.0)
        assert await job.acancel()
        assert (await job.aresult(10)).state == State.CANCELED
        assert not await job.acancel()

    asyncio.run(own_it())
    assert job.status() == State.CANCELED


def test_of_a_batch() -> None:
    batch = enqueue_batch([BatchRequest(f"fox {number}", FLUX) for number in range(3)], max_concurrent=1)

    async def own_it() -> None:
        now = await batch.aprogress()
        assert (now.total, now.queued, now.waiting) == (3, 1, 2)
        with pytest.raises(ResultTimeout):
            await batch.aresults(0.0)
        batch.cancel()
        assert [result.success for result in await batch.aresults(10)] == [False] * 3
        assert [result.success async for result in batch] == [False] * 3

    asyncio.run(own_it())
    assert batch.progress().canceled == 3
