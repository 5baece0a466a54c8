"""The limiter beside other limiters, in one run; then its memory and the time of a call at growing limits.

Two processes of 150 threads want 60 slots, and hold each for 50 ms. The others need `pip install replibatch[bench]`.

python -m benchmarks.limiter            all of it
python -m benchmarks.limiter ours bare  those limiters alone
"""

from __future__ import annotations

import itertools
import multiprocessing as mp
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from redis import ConnectionPool, Redis
from redis.connection import UnixDomainSocketConnection

from benchmarks.report import Table, publish
from replibatch.limits import Limiter, Standing, Ticket
from replibatch.limits.waiting_room import WaitingRoom
from replibatch.redisdb.scripts import run_together
from replibatch.settings import Settings
from tests.support.redis_server import RedisServer

LIMIT, PROCESSES, WAITERS, HOLD_SECONDS = 60, 2, 150, 0.05
WARM_SECONDS, RUN_SECONDS = 1.0, 10.0
SIZES = ((60, 600), (1_000, 10_000), (10_000, 100_000))
ROUNDS = 300

Hold = Callable[[], AbstractContextManager[None]]


class Counted(UnixDomainSocketConnection):
    """Counts round trips: a pipeline is one."""

    trips = itertools.count()

    def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        """One more."""
        next(self.trips)
        super().send_packed_command(*args, **kwargs)


def client(url: str) -> Redis:
    """A client whose round trips are counted."""
    pool = ConnectionPool(
        connection_class=Counted,
        path=unquote(urlsplit(url).path),
        max_connections=4 * WAITERS,
        socket_timeout=None,  # a token may be long in coming
        decode_responses=True,
    )
    return Redis(connection_pool=pool)


@contextmanager
def ours(url: str) -> Iterator[Hold]:
    """The limiter with every check on."""
    settings = Settings(global_max_concurrent=LIMIT, requests_per_minute=1_000_000, budget_usd=1e6)
    redis, process = client(url), f"p{random.getrandbits(40)}"
    limiter = Limiter(redis, settings, process)
    keeper = WaitingRoom(limiter, redis, settings.lease_seconds, lambda: {"budget": 10**12})
    keeper.start()
    limiter.rebuild([])
    numbers = itertools.count()

    @contextmanager
    def hold() -> Iterator[None]:
        ticket = Ticket(f"{process}:{next(numbers)}", 1, 0.02)
        assert keeper.acquire(ticket) == Standing.CLAIMED
        yield
        run_together(redis, limiter.released_step(ticket, 0.02))

    yield hold
    keeper.stop()


@contextmanager
def bare(url: str) -> Iterator[Hold]:
    """A list of tokens: no lease, no window, no budget."""
    redis = client(url)
    if redis.set("bare:made", 1, nx=True):
        redis.rpush("bare", *range(LIMIT))

    @contextmanager
    def hold() -> Iterator[None]:
        redis.blpop(["bare"])
        yield
        redis.rpush("bare", 1)

    yield hold


@contextmanager
def steindamm(url: str) -> Iterator[Hold]:
    """A list of tokens whose keys expire."""
    from steindamm import SyncRedisSemaphore  # noqa: PLC0415

    semaphore = SyncRedisSemaphore(name="steindamm", connection=client(url), capacity=LIMIT, expiry=60, max_sleep=0)

    @contextmanager
    def hold() -> Iterator[None]:
        with semaphore:
            yield

    yield hold


@contextmanager
def dramatiq(url: str) -> Iterator[Hold]:
    """A counter, asked again after a nap."""
    from dramatiq.rate_limits import ConcurrentRateLimiter  # noqa: PLC0415
    from dramatiq.rate_limits.backends import RedisBackend  # noqa: PLC0415

    limiter = ConcurrentRateLimiter(RedisBackend(client=client(url)), "dramatiq", limit=LIMIT)

    @contextmanager
    def hold() -> Iterator[None]:
        while True:
            with limiter.acquire(raise_on_failure=False) as acquired:
                if acquired:
                    yield
                    return
            time.sleep(random.uniform(0.025, 0.075))

    yield hold


LIMITERS = {"ours": ours, "bare": bare, "steindamm": steindamm, "dramatiq": dramatiq}


@dataclass
class Seen:
    """What one process saw after warming up."""

    busy_seconds: float
    waits: list[float]
    trips: int


def crowd(name: str, url: str, barrier: Barrier, answers: mp.Queue[Seen]) -> None:
    """One process of waiters."""
    waits: list[float] = []
    busy: list[float] = []

    def wait_and_hold(hold: Hold, begins: float, ends: float) -> None:
        while (asked := time.monotonic()) < ends:
            with hold():
                got = time.monotonic()
                time.sleep(HOLD_SECONDS)
                over = time.monotonic()
            busy.append(max(0.0, min(over, ends) - max(got, begins)))
            if begins <= asked and got <= ends:
                waits.append(got - asked)

    with LIMITERS[name](url) as hold:
        barrier.wait()
        begins = time.monotonic() + WARM_SECONDS
        ends = begins + RUN_SECONDS
        threads = [threading.Thread(target=wait_and_hold, args=(hold, begins, ends)) for _ in range(WAITERS)]
        for thread in threads:
            thread.start()
        time.sleep(begins - time.monotonic())
        trips = -next(Counted.trips)
        time.sleep(ends - time.monotonic())
        trips += next(Counted.trips) - 1
        for thread in threads:
            thread.join()
    answers.put(Seen(sum(busy), waits, trips))


def compare(names: list[str], url: str) -> Table:
    """Run them one after the other."""
    spawn = mp.get_context("spawn")
    rows = []
    for name in names:
        with Redis.from_url(url) as redis:
            redis.flushall()
        barrier, answers = spawn.Barrier(PROCESSES), spawn.Queue()
        processes = [spawn.Process(target=crowd, args=(name, url, barrier, answers)) for _ in range(PROCESSES)]
        for process in processes:
            process.start()
        seen: list[Seen] = [answers.get() for _ in processes]
        for process in processes:
            process.join()
        waits = [wait for one in seen for wait in one.waits]
        share = sum(one.busy_seconds for one in seen) / (LIMIT * RUN_SECONDS)
        fairness = max(waits) / statistics.median(waits)
        trips = sum(one.trips for one in seen) / len(waits)
        rows.append([name, f"{share:.3f}", f"{fairness:.2f}", f"{trips:.2f}", f"{len(waits):,}"])
    columns = ["limiter", "busy share", "longest ÷ median wait", "round trips an acquisition", "acquisitions"]
    return Table(columns, rows)


def grow(url: str) -> Table:
    """Fill the limiter to its limits, and see what it takes."""
    rows = []
    for concurrent, per_window in SIZES:
        with Redis.from_url(url, decode_responses=True) as redis:
            redis.flushall()
            limiter = Limiter(redis, Settings(global_max_concurrent=concurrent, requests_per_minute=per_window), "p")
            limiter.heartbeat({})
            limiter.rebuild([])
            answered = per_window - concurrent // 2
            tickets = (Ticket(f"{serial:032x}:1", 1, 0.02) for serial in itertools.count())
            holding = []
            for number in range(answered):
                if number % 1000 == 0:
                    limiter.heartbeat({})
                ticket = next(tickets)
                assert limiter.acquire(ticket)[0] == Standing.CLAIMED
                run_together(redis, limiter.created_step(ticket, ticket.attempt_key))
                if len(holding) < concurrent - 1:
                    holding.append(ticket)
                else:
                    run_together(redis, limiter.released_step(ticket, 0.02))
            kib = sum(redis.memory_usage(key, samples=0) for key in redis.scan_iter("rb:*")) / 1024
            window = (redis.memory_usage(f"{limiter.prefix}window", samples=0) or 0) / 1024
            redis.config_resetstat()
            for _ in range(ROUNDS):
                ticket = next(tickets)
                limiter.acquire(ticket)
                run_together(redis, limiter.released_step(ticket, 0.02))
            stats = redis.info("commandstats")["cmdstat_evalsha"]
        size = f"{concurrent:,} slots, {per_window:,} a minute"
        rows.append([size, f"{kib:,.0f}", f"{window:,.1f}", f"{stats['usec_per_call']:.0f}"])
    return Table(["limits", "memory, KiB", "window of that, KiB", "a call, µs in Redis"], rows)


def main(names: list[str]) -> None:
    """All of it, or the limiters named."""
    server = RedisServer(Path(tempfile.mkdtemp(prefix="rb-")))
    try:
        if names:
            print(compare(names, server.url))
        else:
            publish("limiter", __doc__, compare(list(LIMITERS), server.url), grow(server.url))
    finally:
        server.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
