"""A Redis that takes few connections: a fleet waits for its own, and nothing stands still."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from replibatch.sandbox import Sandbox
from tests.support.commands import MODEL, Start, results, write_prompts

pytestmark = pytest.mark.chaos

ITEMS = 200


@pytest.mark.parametrize("most", [20, 30, 50])
def test_all_is_made(
    fleet: str,
    sandbox: Sandbox,
    start_worker: Callable[..., Any],
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
) -> None:
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "60")
    sandbox.settings.latency_seconds = 1.0
    with Redis.from_url(fleet, decode_responses=True) as operator:
        operator.config_set("maxclients", most)
        try:
            worker = start_worker("--concurrency", "100")
            write_prompts(ITEMS)
            run = start("run", "prompts.txt", "-m", MODEL, "-o", "out")
            used = 0
            while run.poll() is None:
                used = max(used, len(operator.client_list()))
                time.sleep(0.2)  # a sample of the connections
            out, err = run.communicate(timeout=120)
        finally:
            operator.config_set("maxclients", 10_000)
    assert run.returncode == 0, out + err
    assert worker.poll() is None
    assert len(results()) == ITEMS and len(sandbox.books.create_times) == ITEMS
