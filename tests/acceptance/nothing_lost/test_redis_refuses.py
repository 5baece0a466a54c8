"""Redis answers, but not now: read-only, full, restarted. Runs and workers wait, and go on by themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from replibatch.sandbox import Sandbox
from tests.support.commands import MODEL, Start, results, write_prompts
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

ITEMS = 24
SECONDS = 5.0


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), durable=True)
    yield server
    server.stop()


@pytest.fixture
def fleet(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", server.url)
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "4")
    monkeypatch.setenv("REPLIBATCH_SETTLE_SECONDS", "2")
    return server.url


@pytest.mark.parametrize("fault", ["read-only", "full", "restarted"])
def test_all_is_made_once(
    fleet: str, server: RedisServer, sandbox: Sandbox, start_worker: Callable[..., Any], start: Start, fault: str
) -> None:
    sandbox.settings.latency_seconds = 0.5
    worker = start_worker("--concurrency", "10")
    write_prompts(ITEMS)
    run = start("run", "prompts.txt", "-m", MODEL, "-o", "out")
    until(lambda: len(sandbox.books.create_times) >= 8, what="some are made")
    if fault == "restarted":
        server.stop()
        time.sleep(SECONDS)
        server.restart()
    else:
        with Redis.from_url(fleet) as operator:
            if fault == "read-only":
                operator.replicaof("127.0.0.1", 9)
            else:
                operator.config_set("maxmemory", 1)
            time.sleep(SECONDS)
            if fault == "read-only":
                operator.replicaof("NO", "ONE")
            else:
                operator.config_set("maxmemory", 0)
    out, err = run.communicate(timeout=90)
    assert run.returncode == 0, out + err
    assert worker.poll() is None
    lines = results("out")
    assert len(lines) == ITEMS and all(line["success"] for line in lines)
    assert len(sandbox.books.create_times) == ITEMS
