"""Workers and Redis die at every point of the hand-over between two steps: every step once, every item one result."""

from __future__ import annotations

import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

import replibatch
from replibatch.sandbox import Sandbox
from tests.support.chains import (
    FILM_USD,
    IMAGE,
    KONTEXT,
    QUICK,
    UPSCALE,
    VIDEO,
    bills,
    check_steps_once,
    edited,
    films,
    reserved,
)
from tests.support.crashing_worker import POINTS, crashing
from tests.support.custody import Start, check_nothing_left
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.chaos

LIMIT, ITEMS, DEADLINE_SECONDS = 4, 12, 180.0
HAND_OVER = [
    "before the rename",
    "after the rename",
    "a step made, before the next is recorded",
    "the next step recorded",
    "between advance and publishing the next attempt",
    "between publishing the next attempt and noting it",
    "a later step taken",
    "a later step's create answered, before it is recorded",
    "a later step saved, before the hand-over",
    "before an item is settled",
    "an item settled",
    "between settle and publishing the next",
    "after settle, before the task ends",
]
AFTER_A_RETRY = [
    "a later step taken",
    "after the reply, before it is recorded",
    "a step made, before the next is recorded",
    "the next step recorded",
    "before an item is settled",
    "an item settled",
]
EVERY_POINT = [
    pytest.param(point, marks=pytest.mark.chaos_sample if number % 4 == 2 else ())
    for number, point in enumerate(HAND_OVER)
]


@pytest.fixture
def fleet(durable_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A Redis that keeps its data, and may be killed."""
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", durable_redis.url)
    return durable_redis.url


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, tmp_path: Path) -> None:
    """Short leases, few slots, short predictions."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "replibatch.toml").write_text(QUICK)
    monkeypatch.setenv("REPLIBATCH_LEASE_SECONDS", "2")
    monkeypatch.setenv("REPLIBATCH_SETTLE_SECONDS", "2")
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", str(LIMIT))
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "files"))


@pytest.mark.parametrize("redis_too", [False, True], ids=["worker", "worker and Redis"])
@pytest.mark.parametrize("point", EVERY_POINT)
def test_killed_at(
    point: str,
    redis_too: bool,
    start_worker: Start,
    sandbox: Sandbox,
    tmp_path: Path,
    durable_redis: RedisServer,
    fleet: str,
) -> None:
    assert point in POINTS
    victim = start_worker("--concurrency", "4", by=crashing(point, signal.SIGKILL, tmp_path / "hit"))
    batch = replibatch.enqueue_batch(films(ITEMS))
    assert victim.wait(DEADLINE_SECONDS) == -signal.SIGKILL
    if redis_too:
        durable_redis.kill()
        durable_redis.restart()
    start_worker("--concurrency", "8")
    results = batch.results(DEADLINE_SECONDS)
    check_steps_once(results, ITEMS, sandbox, tmp_path / "files", (IMAGE, UPSCALE, VIDEO))
    assert sandbox.books.peak_in_flight <= LIMIT
    check_nothing_left(fleet)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGSTOP], ids=["told to stop", "stopped"])
@pytest.mark.parametrize("point", HAND_OVER)
def test_beside_another_worker(
    point: str,
    number: signal.Signals,
    start_worker: Start,
    sandbox: Sandbox,
    tmp_path: Path,
    durable_redis: RedisServer,
    fleet: str,
) -> None:
    """It hands over, or stands still and goes on once the other has done its work, with a budget just enough."""
    victim = start_worker("--concurrency", "4", by=crashing(point, number, tmp_path / "hit"))
    start_worker("--concurrency", "4")
    batch = replibatch.enqueue_batch(films(ITEMS), max_cost_usd=ITEMS * FILM_USD + 0.01)
    results = batch.results(DEADLINE_SECONDS)
    victim.send_signal(signal.SIGCONT)
    check_steps_once(results, ITEMS, sandbox, tmp_path / "files", (IMAGE, UPSCALE, VIDEO))
    assert sandbox.books.peak_in_flight <= LIMIT
    check_nothing_left(fleet)
    assert reserved(fleet) == []


def test_a_hundred_items_while_workers_and_redis_are_killed(
    start_worker: Start,
    sandbox: Sandbox,
    tmp_path: Path,
    durable_redis: RedisServer,
    fleet: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At one point after another, with a budget that is just enough."""
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "20")
    batch = replibatch.enqueue_batch(films(100), max_cost_usd=100 * FILM_USD + 0.01)
    for number, point in enumerate(HAND_OVER):
        victim = start_worker("--concurrency", "24", by=crashing(point, signal.SIGKILL, tmp_path / f"hit{number}"))
        with suppress(subprocess.TimeoutExpired):
            victim.wait(25)
        victim.kill()  # somewhere, where it did not come to its point
        if number % 4 == 3:
            durable_redis.kill()
            durable_redis.restart()
    start_worker("--concurrency", "24")
    results = batch.results(400)
    check_steps_once(results, 100, sandbox, tmp_path / "files", (IMAGE, UPSCALE, VIDEO))
    assert sandbox.books.peak_in_flight <= 20
    assert len(list(tmp_path.glob("hit*"))) >= 6, "workers were killed at their points"
    assert batch.progress().cost_usd == pytest.approx(100 * FILM_USD), "within its budget, to the cent"
    check_nothing_left(fleet)
    assert reserved(fleet) == []


def test_failed_middle_steps_are_made_again_while_workers_and_redis_are_killed(
    start_worker: Start, sandbox: Sandbox, tmp_path: Path, durable_redis: RedisServer, fleet: str
) -> None:
    """With a budget that is just enough: the first steps are not made again."""
    count = 12
    batch = replibatch.enqueue_batch((edited(number, "[[failed:1]]") for number in range(count)), max_cost_usd=50)
    calm = start_worker("--concurrency", "8")
    failed = batch.results(DEADLINE_SECONDS)
    calm.terminate()
    calm.wait(DEADLINE_SECONDS)
    assert {result.state for result in failed} == {"failed"} and len(bills(sandbox, IMAGE)) == count
    first = {result.prompt: result.steps[0].files for result in failed}
    assert batch.retry_failed() == count
    for number, point in enumerate(AFTER_A_RETRY):
        victim = start_worker("--concurrency", "4", by=crashing(point, signal.SIGKILL, tmp_path / f"hit{number}"))
        with suppress(subprocess.TimeoutExpired):
            victim.wait(25)
        victim.kill()
        if number % 2:
            durable_redis.kill()
            durable_redis.restart()
    start_worker("--concurrency", "8")
    results = batch.results(DEADLINE_SECONDS)
    assert len(list(tmp_path.glob("hit*"))) == len(AFTER_A_RETRY), "workers were killed at their points"
    assert [result.error for result in results] == [None] * count
    assert {result.prompt: result.steps[0].files for result in results} == first
    made = {model: [bill.billed for bill in bills(sandbox, model)] for model in (IMAGE, KONTEXT, VIDEO)}
    assert made[IMAGE] == made[VIDEO] == [1] * count and sum(made[KONTEXT]) == count
    assert sandbox.books.paid_twice() == [] and sandbox.books.peak_in_flight <= LIMIT
    assert batch.progress().cost_usd == pytest.approx(sum(result.cost_usd or 0.0 for result in results))
    check_nothing_left(fleet)
    assert reserved(fleet) == []
