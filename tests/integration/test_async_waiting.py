"""Waiting in asyncio: a future a wait, whatever the event loops do."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from replibatch import BatchRequest, Client, Job, QueueUnavailable, ReplibatchWarning
from replibatch.requests import BatchResult, State
from tests.support.redis_server import RedisServer

MODEL = "qwen/qwen-image"
WAITERS = 300


@pytest.fixture
def client(redis_url: str, tmp_path: Path) -> Iterator[Client]:
    with Client(redis_url=redis_url, storage_url=str(tmp_path)) as client:
        client.producer_with().fleet._looked_for_workers = time.monotonic()  # nobody is warned that there is none
        yield client


def settle(client: Client, job: Job) -> None:
    jobs = client.producer_with().jobs
    record = jobs.take(job.id, 1)
    assert record is not None
    result = BatchResult(record.request.request_id, "a fox", MODEL, MODEL, True)
    assert jobs.settle(record, State.SUCCEEDED, result)


def connections(client: Client) -> int:
    return int(client.producer_with().redis.info("clients")["connected_clients"])


def test_many_waiters_cost_no_thread_and_no_connection_each_and_leave_nothing(client: Client) -> None:
    jobs = [client.enqueue(BatchRequest(f"fox {number}", MODEL)) for number in range(WAITERS)]
    threads, open_before = threading.active_count(), connections(client)

    async def main() -> None:
        waits = [asyncio.create_task(job.aresult()) for job in jobs]
        for job in jobs[:50]:
            assert await job.astatus() == State.QUEUED
        assert threading.active_count() - threads <= 5 and connections(client) - open_before <= 4
        await asyncio.to_thread(settle, client, jobs[0])
        assert (await asyncio.wait_for(waits[0], 10)).success
        for wait in waits:
            wait.cancel()
        ended = await asyncio.gather(*waits, return_exceptions=True)
        assert sum(isinstance(each, asyncio.CancelledError) for each in ended) == WAITERS - 1
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not client.producer_with().hub._waiting

    asyncio.run(main())


def test_loops_come_and_go(client: Client) -> None:
    job = client.enqueue(BatchRequest("a fox", MODEL))
    for _ in range(3):
        assert asyncio.run(job.astatus()) == State.QUEUED
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(job.aresult())
    loop.run_until_complete(job.astatus())
    waiting.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    threading.Timer(0.2, settle, (client, job)).start()

    async def main() -> BatchResult:
        return await job.aresult(10)

    assert asyncio.run(main()).success


def test_a_batch_is_followed_without_a_thread(client: Client) -> None:
    batch = client.enqueue_batch([BatchRequest(f"fox {number}", MODEL) for number in range(20)])

    async def main() -> list[BatchResult]:
        threading.Thread(target=_settle_all, args=(client, batch.id)).start()
        return [result async for result in batch]

    assert len(asyncio.run(main())) == 20


def _settle_all(client: Client, batch_id: str) -> None:
    for generation in sorted(client.producer_with().batches.outstanding(batch_id)):
        settle(client, Job(client.producer_with(), generation))


def test_redis_away_ends_no_wait_and_is_told_to_who_asks(durable_redis: RedisServer, tmp_path: Path) -> None:
    with Client(redis_url=durable_redis.url, storage_url=str(tmp_path)) as client:
        client.producer_with().fleet._looked_for_workers = time.monotonic()
        job = client.enqueue(BatchRequest("a fox", MODEL))

        async def main() -> None:
            wait = asyncio.create_task(job.aresult())
            await job.astatus()
            durable_redis.kill()
            with pytest.raises(QueueUnavailable):
                await job.astatus()
            began = time.monotonic()
            late = asyncio.create_task(asyncio.sleep(0.05))
            with pytest.raises(QueueUnavailable) as away:
                await client.aenqueue(BatchRequest("a boat", MODEL))
            assert away.value.accepted is False
            assert late.done() or time.monotonic() - began < 0.05, "the loop was not blocked"
            await asyncio.to_thread(durable_redis.restart)
            await asyncio.to_thread(settle, client, job)
            try:
                result = await asyncio.wait_for(wait, 20)
            except QueueUnavailable:  # it asked in the very moment
                result = await job.aresult(20)
            assert result.success

        asyncio.run(main())


def test_who_waits_for_a_fleet_without_a_worker_is_warned(redis_url: str, tmp_path: Path) -> None:
    with Client(redis_url=redis_url, storage_url=str(tmp_path)) as client:
        job = client.enqueue(BatchRequest("a fox", MODEL))
        threading.Timer(4, settle, (client, job)).start()
        with pytest.warns(
            ReplibatchWarning, match="no worker answers at unix://.*; it waits until there is one"
        ) as said:
            assert job.result(timeout=30).success
        assert said[0].filename == __file__
