"""Looks that processes share through Redis: what one reads all hear of. Reads are counted in the stand-in's books."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest

from replibatch.polling.shared_polls import LISTEN_SECONDS, SharedPolls
from replibatch.polling.watcher import BURST_SECONDS
from replibatch.redisdb.calls import Patience
from replibatch.redisdb.connection import connect
from replibatch.sandbox import Sandbox, SandboxSettings
from tests.support.sandbox_caller import wait_for
from tests.support.watching import Worker

PLENTY = 1_000_000
SECONDS = 0.5
Join = Callable[..., AbstractContextManager[Worker]]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    settings = SandboxSettings(
        latency_seconds=SECONDS, jitter=0.3, creates_per_window=PLENTY, reads_per_minute=PLENTY
    )
    with Sandbox(settings) as running:
        yield running


@pytest.fixture
def join(sandbox: Sandbox, redis_url: str) -> Join:
    """One more process of the fleet; how many reads a second it believes the account has may be given."""

    @contextmanager
    def joined(reads_per_second: float = 50.0) -> Iterator[Worker]:
        redis = connect(redis_url, longest_block_seconds=LISTEN_SECONDS, patience=Patience(0.1))
        polls = SharedPolls(redis, "rb:test:", sandbox.books)
        with Worker(sandbox, reads_per_second, polls) as worker:
            (before,) = redis.pubsub_numsub("rb:test:polls")
            polls.start(worker.watcher)
            wait_for(lambda: redis.pubsub_numsub("rb:test:polls") != [before])
            yield worker
            polls.stop()
        redis.close()

    return joined


def test_one_that_may_hardly_read_hears_of_its_ends_from_another(join):
    with join() as reader, join(reads_per_second=0.001) as listener:
        made = listener.create_many(20)
        for prediction in made:
            listener.watch(prediction, SECONDS)
        reader.keep_in_flight(20, 60, SECONDS)
        wait_for(lambda: len(listener.seen) == 20)
        assert {seen.id for seen in listener.seen} == {one.id for one in made}
        assert all(seen.status == "succeeded" and seen.output for seen in listener.seen)
        assert listener.own_reads.count <= 2


def test_four_workers_read_hardly_more_than_one_for_the_same_predictions(sandbox, join):
    with join() as alone:
        alone.keep_in_flight(20, 60, SECONDS)
        reads_of_one = alone.reads
    sandbox.books.reset()
    with ExitStack() as stack:
        workers = [stack.enter_context(join()) for _ in range(4)]
        began = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            for run in [pool.submit(one.keep_in_flight, 5, 15, SECONDS) for one in workers]:
                run.result()
        seconds = time.monotonic() - began + BURST_SECONDS
        reads = workers[0].reads
        assert reads < 2.5 * reads_of_one
        assert reads / seconds < 50
        assert statistics.median(delay for one in workers for delay in one.delays) < 0.5 * SECONDS


def test_what_was_passed_on_before_somebody_waited_for_it_is_read_by_them(join):
    with join() as reader, join() as late:
        prediction = reader.create()
        wait_for(lambda: reader.api.get(prediction.id).is_over)
        reader.run(1, SECONDS)  # its look passes the end on, and nobody there waits for it yet
        late.watch(prediction, typical_seconds=1000)
        reader.run(1, SECONDS)
        wait_for(lambda: len(late.seen) == 1)


def test_a_message_nobody_can_read_keeps_no_later_one_from_being_heard(join, redis_url):
    with join() as reader, join(reads_per_second=0.001) as listener:
        with connect(redis_url) as redis:
            redis.publish("rb:test:polls", '{"of": "another version"}')
            wait_for(lambda: redis.pubsub_numsub("rb:test:polls") == [("rb:test:polls", 2)])
        prediction = listener.create()
        listener.watch(prediction, SECONDS)
        reader.keep_in_flight(20, 60, SECONDS)
        wait_for(lambda: len(listener.seen) == 1)
        assert listener.own_reads.count <= 2


def test_without_redis_each_polls_for_itself(join, redis_server):
    with join() as one, join() as other:
        made = [worker.create_many(5) for worker in (one, other)]
        redis_server.kill()
        for worker, predictions in zip((one, other), made, strict=True):
            for prediction in predictions:
                worker.watch(prediction, SECONDS)
        wait_for(lambda: len(one.seen) == len(other.seen) == 5, 15)
