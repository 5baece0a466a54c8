"""Does a generation cost more where there is more of everything? CPU of Redis and of the scripts' callers, each.

The limiter: a waiting generation gets the slot of a release, then claims, creates and releases.
The records: a generation of a batch is taken, created, settled, which feeds the batch, and the next one published.
Both are the calls a worker makes, on a Redis that keeps every acknowledged write, with no prediction behind them.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
from redis import Redis

from benchmarks.report import Table, publish, spread
from benchmarks.rivals import MODEL
from replibatch.broker.publish import BULK
from replibatch.catalog import load as load_catalog
from replibatch.jobs import Batches, Jobs, Message, Packer, PendingEntry, capacity_for
from replibatch.limits import Limiter, Standing, Ticket
from replibatch.limits.waiting_room import SLOWEST_BEAT_SECONDS
from replibatch.producer.files import Files
from replibatch.producer.prepare import Preparer
from replibatch.redisdb.scripts import run_together
from replibatch.requests import BatchRequest, BatchResult, State
from replibatch.settings import Settings
from tests.support.redis_server import RedisServer

SLOTS = (60, 1_000, 10_000)
BATCHES = (1_000, 10_000, 100_000, 1_000_000)
CHUNK = 500
WARM, EACH = 100, 150  # generations before anything is counted, and of a run
PRICE_USD = 0.02


class Cost(NamedTuple):
    """CPU of one generation, in µs."""

    redis: float
    caller: float


@click.command(help=__doc__)
@click.option("--runs", default=5, show_default=True, help="At each size.")
@click.option(
    "--largest", default=max(BATCHES), show_default=True, help="The largest batch: a million takes minutes."
)
def main(runs: int, largest: int) -> None:
    """The limiter, then the records, each from small to large."""
    server = RedisServer(Path(tempfile.mkdtemp(prefix="rb-")), durable=True)
    try:
        with Redis.from_url(server.url, decode_responses=True) as redis:
            limiter = {f"{slots:,}": _costs(redis, _at_the_gate(redis, slots), runs) for slots in SLOTS}
            sizes = [(requests, min(SLOTS)) for requests in BATCHES if requests <= largest]
            sizes += [(BATCHES[-2], max(SLOTS))] if largest >= BATCHES[-2] else []
            jobs = {
                f"{requests:,} with {slots:,} slots": _costs(redis, _in_a_batch(redis, requests, slots), runs)
                for requests, slots in sizes
            }
    finally:
        server.stop()
    columns = ["runs", "Redis, µs", "caller, µs", "times the smallest's, both"]
    publish(
        "growth",
        __doc__,
        Table(["slots", *columns], _rows(limiter)),
        Table(["requests of the batch", *columns], _rows(jobs)),
    )


def _costs(redis: Redis, generations: Iterator[None], runs: int) -> list[Cost]:
    """Let that many go by, and see what each cost."""

    def go(count: int) -> None:
        for _ in itertools.islice(generations, count):
            pass

    go(WARM)
    costs = []
    for _ in range(runs):
        before, own = _redis_seconds(redis), time.process_time()
        go(EACH)
        caller = time.process_time() - own
        costs.append(Cost(1e6 * (_redis_seconds(redis) - before) / EACH, 1e6 * caller / EACH))
    return costs


def _redis_seconds(redis: Redis) -> float:
    used: dict[str, Any] = redis.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


def _rows(measured: dict[str, list[Cost]]) -> list[list[str]]:
    smallest = statistics.median(map(sum, next(iter(measured.values()))))
    return [
        [
            name,
            str(len(costs)),
            spread([cost.redis for cost in costs], 0),
            spread([cost.caller for cost in costs], 0),
            spread([sum(cost) / smallest for cost in costs]),
        ]
        for name, costs in measured.items()
    ]


def _settings(slots: int) -> Settings:
    return Settings(global_max_concurrent=slots, requests_per_minute=1_000_000, budget_usd=1e6, lease_seconds=3600)


class _Heartbeat:
    """As a worker's: nothing is handed to a process that has not been heard of lately."""

    def __init__(self) -> None:
        self._last = float("-inf")

    def when_due(self, limiter: Limiter) -> None:
        """Beat, if it is time."""
        if time.monotonic() - self._last >= SLOWEST_BEAT_SECONDS:
            self._last = time.monotonic()
            limiter.heartbeat({})


def _at_the_gate(redis: Redis, slots: int) -> Iterator[None]:
    """Every slot is taken, and as many wait as a fleet of that size has beyond its slots."""
    redis.flushall()
    limiter, beat = Limiter(redis, _settings(slots), "p"), _Heartbeat()
    beat.when_due(limiter)
    limiter.rebuild([])
    tickets = (Ticket(f"{serial:032x}:1", 1, PRICE_USD) for serial in itertools.count())
    holding: deque[Ticket] = deque()
    for ticket in itertools.islice(tickets, slots):
        beat.when_due(limiter)
        assert limiter.acquire(ticket)[0] == Standing.CLAIMED
        run_together(redis, limiter.created_step(ticket, ticket.attempt_key))
        holding.append(ticket)
    waiting = deque(itertools.islice(tickets, capacity_for(slots) - slots))
    for ticket in waiting:
        beat.when_due(limiter)
        assert limiter.acquire(ticket)[0] == Standing.WAITING
    while True:
        beat.when_due(limiter)
        run_together(redis, limiter.released_step(holding.popleft(), PRICE_USD))
        first = waiting.popleft()
        assert limiter.claim([first])[0] == [Standing.CLAIMED]
        run_together(redis, limiter.created_step(first, first.attempt_key))
        holding.append(first)
        waiting.append(next(tickets))
        assert limiter.acquire(waiting[-1])[0] == Standing.WAITING
        yield


def _in_a_batch(redis: Redis, requests: int, slots: int) -> Iterator[None]:
    """A batch of that many, fed for that many slots."""
    redis.flushall()
    jobs = Jobs(redis, _settings(slots), "p")
    jobs.capacity = capacity_for(slots)
    batches = Batches(jobs)
    batches.open("b", max_concurrent=None, priority=BULK, about={})
    queue = deque(_append(batches, requests, jobs.published))
    while True:
        message = queue.popleft()
        record = jobs.take(message.id, message.attempt)
        assert record is not None
        assert run_together(redis, jobs.created_step(record, f"prediction-{record.id}")) == ["ok"]
        result = BatchResult(
            request_id=record.request.request_id,
            prompt=record.request.prompt,
            model_name=MODEL,
            model_used=MODEL,
            success=True,
            cost_usd=PRICE_USD,
        )
        settled = jobs.settle(record, State.SUCCEEDED, result)
        assert settled
        following = settled.messages
        jobs.published([message.id for message in following])
        queue.extend(following)
        yield


def _append(batches: Batches, requests: int, published: Callable[[list[str]], None]) -> Iterator[Message]:
    """Append them as `enqueue_batch` does, without Celery's messages."""
    catalog, packer = load_catalog(None), Packer()
    prepare = Preparer(catalog, Files(_settings(1), embedded=False, check_storage=lambda: None))
    models = {name: model.to_json() for name, model in catalog.subset(MODEL).items()}
    for offset in range(0, requests, CHUNK):
        entries = []
        for place in range(offset, min(offset + CHUNK, requests)):
            request = prepare(BatchRequest(f"a prompt of some length, number {place}", MODEL), f"b-{place}", place)
            entries.append(packer.pack(PendingEntry(f"b-{place}", place, request)))
        messages = batches.append("b", offset, entries, packer.fresh(), models)
        published([message.id for message in messages])
        yield from messages


if __name__ == "__main__":
    main()
