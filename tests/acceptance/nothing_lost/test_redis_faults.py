"""Redis goes away, with its data and without, while work is under way."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis import Redis

from replibatch import Batch, BatchRequest, enqueue_batch
from replibatch.embedded.server import free_port
from replibatch.sandbox import Sandbox, clock
from tests.support.crashing_worker import await_stop, crashing
from tests.support.custody import MODEL, check_each_once, enqueue_jobs
from tests.support.limited_account import LIMIT, Account, Start
from tests.support.redis_server import RedisServer
from tests.support.waiting import busy_seconds, until

pytestmark = pytest.mark.chaos

LEASE_SECONDS, WINDOW_SECONDS, PER_WINDOW = 2.0, 10.0, 12


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def server(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """It listens on a port too, for its replica."""
    listen = (("bind", "127.0.0.1"), ("port", str(port)), ("repl-diskless-sync-delay", "0"))
    server = RedisServer(tmp_path_factory.mktemp("redis"), durable=True, directives=listen)
    yield server
    server.stop()


def socket_of(server: RedisServer) -> Path:
    return Path(urlsplit(server.url).path)


@pytest.fixture
def fleet(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The fleet's Redis is one of this test's own."""
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", server.url)
    return server.url


@pytest.fixture
def idle_account(fleet: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Account:
    """With no worker yet."""
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "files"))
    monkeypatch.setenv("REPLIBATCH_LEASE_SECONDS", str(LEASE_SECONDS))
    monkeypatch.setenv("REPLIBATCH_SETTLE_SECONDS", "2")
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", str(LIMIT))
    monkeypatch.setenv("REPLICATE_REQUESTS_PER_MINUTE", str(PER_WINDOW))
    monkeypatch.setenv("REPLIBATCH_RATE_WINDOW_SECONDS", str(WINDOW_SECONDS))
    return Account(fleet, sandbox)


@pytest.fixture
def account(idle_account: Account, start_worker: Start) -> Account:
    """With two workers."""
    for _ in range(2):
        start_worker("--concurrency", "12")
    return idle_account


def batch_of(count: int) -> Batch:
    return enqueue_batch(BatchRequest(f"p{number}", MODEL) for number in range(count))


@pytest.mark.parametrize("how", ["killed", "frozen", "its scripts forgotten"])
def test_redis_with_its_data(account: Account, server: RedisServer, how: str, tmp_path: Path) -> None:
    account.sandbox.settings.latency_seconds = 1.5
    jobs = enqueue_jobs(20)
    until(lambda: account.sandbox.books.in_flight == LIMIT, what="all slots are busy")
    if how == "killed":
        server.kill()
        server.restart()
    elif how == "frozen":
        server.process.send_signal(signal.SIGSTOP)
        ends = time.monotonic() + 1.5 * LEASE_SECONDS
        until(lambda: time.monotonic() > ends)
        server.process.send_signal(signal.SIGCONT)
    else:
        with Redis.from_url(server.url) as redis:
            redis.script_flush()
    check_each_once([job.result(timeout=90) for job in jobs], 20, account.sandbox, tmp_path / "files")
    account.check_limits(per_window=PER_WINDOW, window_seconds=WINDOW_SECONDS)


@pytest.mark.parametrize("how", ["flushed", "restarted without it"])
@pytest.mark.parametrize("busy", [LIMIT, LIMIT - 2])
def test_redis_without_its_data(account: Account, server: RedisServer, how: str, busy: int) -> None:
    """The jobs are gone with it; what runs still counts, what was created too, and what comes next waits for it."""
    account.sandbox.settings.latency_seconds = 5.0
    batch_of(busy)
    books = account.sandbox.books
    until(lambda: books.in_flight == busy, what="slots are busy")
    if how == "flushed":
        with Redis.from_url(server.url) as redis:
            redis.flushall()
    else:
        server.kill()
        for file in socket_of(server).parent.glob("**/*.aof"):
            file.unlink()
        server.restart()
    lost_at = time.time()
    batch = batch_of(10)
    until(lambda: len(books.create_times) == busy + 10, 60, "the slots are used again")
    assert [result.success for result in batch.results(timeout=60)] == [True] * 10
    account.check_limits(per_window=PER_WINDOW, window_seconds=WINDOW_SECONDS)
    if busy < LIMIT:
        first = min(at for at in books.create_times if at > lost_at)
        assert first - lost_at < 3.0 + busy_seconds(), "a pause of two seconds"
    until(lambda: not account.state().slots, 10, "no slot is left over")


def test_redis_without_its_data_where_the_clocks_are_far_apart(
    idle_account: Account, start_worker: Start, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a dead worker has left running is told by Replicate's clock, not by the next worker's."""
    monkeypatch.setattr(clock, "_OFFSET_SECONDS", clock._OFFSET_SECONDS - 7200)
    books = idle_account.sandbox.books
    idle_account.sandbox.settings.latency_seconds = 15.0
    worker = start_worker("--concurrency", "12")
    batch_of(LIMIT)
    until(lambda: books.in_flight == LIMIT, what="all slots are busy")
    worker.kill()
    with Redis.from_url(server.url) as redis:
        redis.flushall()
    start_worker("--concurrency", "12")
    batch_of(LIMIT)
    until(lambda: len(books.create_times) == 2 * LIMIT, 90, "the slots are used again")
    idle_account.check_limits(per_window=PER_WINDOW, window_seconds=WINDOW_SECONDS)


@pytest.mark.parametrize("point", ["the reply on its way", "after the reply, before it is recorded"])
def test_redis_without_its_data_while_the_reply_to_a_create_is_on_its_way(
    point: str, idle_account: Account, start_worker: Start, server: RedisServer, tmp_path: Path
) -> None:
    """Its generation is gone; the prediction has its slot as long as it runs, and no longer."""
    books = idle_account.sandbox.books
    idle_account.sandbox.settings.latency_seconds = 3.0
    worker = start_worker("--concurrency", "12", by=crashing(point, signal.SIGSTOP, tmp_path / "hit"))
    batch_of(LIMIT)
    await_stop(worker)
    with Redis.from_url(server.url) as redis:
        redis.flushall()
    worker.send_signal(signal.SIGCONT)
    until(lambda: idle_account.of(worker, "slots"), what="the account's state is rebuilt")
    until(lambda: books.in_flight == 0, what="what was created is over")
    until(lambda: not idle_account.state().slots, 10, "no slot is left over")
    idle_account.check_limits()


@pytest.fixture
def replica(server: RedisServer, port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    follower = RedisServer(tmp_path_factory.mktemp("replica"), durable=True)
    with Redis.from_url(follower.url) as redis:
        redis.replicaof("127.0.0.1", port)
        until(lambda: redis.info("replication")["master_link_status"] == "up", what="the replica is in step")
    yield follower
    follower.stop()


def test_failover_to_a_replica_that_was_behind(account: Account, server: RedisServer, replica: RedisServer) -> None:
    books = account.sandbox.books
    account.sandbox.settings.latency_seconds = 3.0
    batch_of(40)
    until(lambda: books.in_flight == LIMIT, what="all slots are busy")
    with Redis.from_url(replica.url) as redis:
        redis.replicaof("127.0.0.1", 1)  # its link breaks, and it knows no more
        until(lambda: len(books.create_times) > LIMIT + 3, what="slots change hands behind its back")
        redis.replicaof("NO", "ONE")
    server.kill()
    socket_of(replica).rename(socket_of(server))  # where the workers look for Redis is the replica now
    created = len(books.create_times)
    until(lambda: len(books.create_times) >= created + 12, 60, "the slots are used again")
    account.check_limits(per_window=PER_WINDOW, window_seconds=WINDOW_SECONDS)
    until(lambda: not account.state().tickets and books.in_flight == 0, 120, "all is done, and no slot is left over")
    account.check_limits(per_window=PER_WINDOW, window_seconds=WINDOW_SECONDS)
