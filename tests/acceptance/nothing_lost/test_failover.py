"""Failovers between real servers, by real sentinels, in the midst of a run: nothing is paid twice, nothing lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from replibatch.sandbox import Sandbox
from tests.support.commands import MODEL, Start, results, write_prompts
from tests.support.failover_servers import Sentinels
from tests.support.waiting import until

pytestmark = pytest.mark.chaos

LIMIT = 6


@pytest.fixture
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinels]:
    running = Sentinels(tmp_path_factory.mktemp("sentinels"))
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def fleet(sentinels: Sentinels, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", sentinels.url)
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", str(LIMIT))
    monkeypatch.setenv("REPLIBATCH_SETTLE_SECONDS", "2")
    monkeypatch.setenv("REPLIBATCH_LEASE_SECONDS", "5")
    return f"redis://127.0.0.1:{sentinels.ports[0]}"  # only looked at, by the fixtures


@pytest.mark.parametrize("how", ["ordered", "killed", "parted", "back and forth"])
def test_a_failover_in_the_midst(
    sentinels: Sentinels, sandbox: Sandbox, start_worker: Callable[..., Any], start: Start, how: str
) -> None:
    items = 100
    sandbox.settings.latency_seconds = 1.0
    workers = [start_worker("--concurrency", "10") for _ in range(2)]
    write_prompts(items)
    run = start("run", "prompts.txt", "-m", MODEL, "-o", "out")
    until(lambda: len(sandbox.books.create_times) >= 15, what="some are made")
    if how == "ordered":
        sentinels.fail_over()
    elif how == "killed":
        sentinels.restart(sentinels.kill_primary())
    elif how == "parted":
        sentinels.part(10.0)
    else:
        sentinels.fail_over()
        until(sentinels.healthy, what="it replicates again", seconds=60)
        time.sleep(2)  # batches go on there for a while
        sentinels.fail_over()
    out, err = run.communicate(timeout=180)
    assert run.returncode == 0, out + err
    assert all(worker.poll() is None for worker in workers)
    lines = results()
    assert len({line["index"] for line in lines}) == items and all(line["success"] for line in lines)
    assert sandbox.books.peak_in_flight <= LIMIT
    assert len(sandbox.books.create_times) == items, "nothing is paid twice"
