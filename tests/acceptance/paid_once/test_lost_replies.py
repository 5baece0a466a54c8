"""Replies lost at random, under every kind of difference between a request and how its row shows it.

By the stand-in's books: nothing is paid for twice; a create that no row proves is held, listed, and settled by hand.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from redis import Redis

import replibatch
from replibatch import BatchRequest
from replibatch.jobs.unknown import Unknown, UnknownCreates
from replibatch.sandbox import Sandbox
from replibatch.sandbox.books import Bill
from replibatch.sandbox.echoes import ECHOES
from replibatch.settings import load
from tests.support.custody import Start

MODELS = ("qwen/qwen-image", "black-forest-labs/flux-dev")
LOST = ("drop-after", "502-after", "504-after", "500-after", "drop-before", "502-before", "503-before")
DEADLINE_SECONDS = 120.0


def unknown(fleet: str) -> UnknownCreates:
    return UnknownCreates(Redis.from_url(fleet, decode_responses=True), load().key_prefix)


def run(
    count: int, sandbox: Sandbox, start_worker: Start, fleet: str, echo_rate: float, kinds: tuple[str, ...] = ECHOES
) -> list[Unknown]:
    """Make so many, and settle what is held by the books; returns what was."""
    sandbox.settings.fault_rates = {**dict.fromkeys(LOST, 0.07), **dict.fromkeys(kinds, echo_rate)}
    start_worker("--concurrency", "40")
    start_worker("--concurrency", "40")
    rng = random.Random(14)
    prompts = [f"a fox, number {rng.randrange(count // 2)}" for _ in range(count)]  # equal ones among them
    batch = replibatch.enqueue_batch(
        BatchRequest(prompt, MODELS[number % 2], f"{number}.webp") for number, prompt in enumerate(prompts)
    )
    held: dict[str, Unknown] = {}
    ends = time.monotonic() + DEADLINE_SECONDS
    quiet_since = time.monotonic()
    while (done := batch.progress()).succeeded < count:
        assert time.monotonic() < ends, (done, unknown(fleet).all())
        assert done.failed == done.placeholder == 0, list(batch.results())
        now = {each.id: each for each in unknown(fleet).all()}
        if now.keys() - held.keys():
            quiet_since = time.monotonic()
        held |= now
        if now and time.monotonic() - quiet_since > 4.0:  # nothing more comes of itself
            settle(now, sandbox, fleet)
            quiet_since = time.monotonic()
        time.sleep(0.2)
    assert sandbox.books.paid_twice() == []
    made = [one for bill in sandbox.books.bills() for one in bill.prediction_ids]
    assert len(made) == count, "each is paid for once"
    ids = [result.attempts[-1].prediction_id for result in batch.results()]
    assert set(ids) == set(made), "each has a prediction of its own"
    return list(held.values())


def settle(now: dict[str, Unknown], sandbox: Sandbox, fleet: str) -> None:
    """As a person would who can see Replicate's own page: one after the other."""
    with Redis.from_url(fleet, decode_responses=True) as redis:
        prefix = load().key_prefix
        claimed = {key.rpartition(":")[2] for key in redis.scan_iter(f"{prefix}prediction:*")}
        for each in now.values():
            record = redis.hgetall(f"{prefix}gen:{each.id}")
            for bill in sandbox.books.bills():
                free = [one for one in bill.prediction_ids if one not in claimed]
                if free and bill.model == each.model and _is_of(bill, record["request"]):
                    unknown(fleet).settle(each.id, free[0])
                    break
            else:
                unknown(fleet).settle(each.id, None)


def _is_of(bill: Bill, request: str) -> bool:
    return f'"{bill.input["prompt"]}"' in request and str(bill.input["seed"]) in request


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, tmp_path: Path) -> None:
    monkeypatch.setenv("REPLIBATCH_SETTLE_SECONDS", "1.5")
    monkeypatch.setenv("REPLIBATCH_LEASE_SECONDS", "5")
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "files"))


def test_none_is_paid_for_twice_where_rows_show_prompts(sandbox: Sandbox, start_worker: Start, fleet: str) -> None:
    kinds = tuple(kind for kind in ECHOES if kind != "echo-no-input")
    assert run(40, sandbox, start_worker, fleet, 0.1, kinds) == [], "the rows allow a proof of each"


@pytest.mark.chaos
def test_none_of_two_hundred_is_paid_for_twice(sandbox: Sandbox, start_worker: Start, fleet: str) -> None:
    held = run(200, sandbox, start_worker, fleet, 0.08)
    assert all(each.candidates for each in held), "held only where a row may be it"
