"""An id, an amount or a choice that is none is one line, whatever it would name in Redis."""

from __future__ import annotations

import json
from typing import Any

import pytest

from replibatch import Batch, BatchRequest, IntelligentBatchProcessor, Job, enqueue, enqueue_batch
from replibatch.errors import NoSuchWork, SettingsError
from replibatch.redisdb.connection import connect


@pytest.fixture
def fleet(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", redis_url)


def test_ids_that_name_other_keys(fleet: None) -> None:
    batch = enqueue_batch([BatchRequest("a fox", "qwen/qwen-image")])
    for odd in (
        f"{batch.id}:finished",
        f"{batch.id}:pending",
        f"{batch.id}:out",
        "",
        "\x1b[2J",
        "x" * 10**6,
        "*",
        "a b",
    ):
        with pytest.raises(NoSuchWork) as refused:
            Batch.get(odd)
        assert len(str(refused.value)) < 500 and "\x1b" not in str(refused.value)
        with pytest.raises(NoSuchWork):
            Job.get(odd)
    assert Batch.get(batch.id).progress().total == 1


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), -1, pytest.param(10**5000, id="huge"), "5", True])
def test_budgets_that_are_no_amounts(fleet: None, amount: object) -> None:
    with pytest.raises(SettingsError, match="max_cost_usd is"):
        enqueue_batch([BatchRequest("a fox", "qwen/qwen-image")], max_cost_usd=amount)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [0, -1, 10**30, float("nan"), "5", True])
def test_bounds_that_are_none(fleet: None, number: object) -> None:
    with pytest.raises(SettingsError, match="max_concurrent is"):
        enqueue_batch([BatchRequest("a fox", "qwen/qwen-image")], max_concurrent=number)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["fallback", "maybe", None])
@pytest.mark.parametrize("call", ["enqueue", "enqueue_batch", "process"])
def test_what_is_done_in_an_outage_is_one_of_two_and_not_against_fallback(fleet: None, call: str, value: str) -> None:
    how: Any = {"on_outage": value, "fallback": False}
    request = BatchRequest("a fox", "qwen/qwen-image")
    with pytest.raises(SettingsError, match=r"on_outage is .*; allowed: 'hold'"):
        if call == "enqueue":
            enqueue(request, **how)
        elif call == "enqueue_batch":
            enqueue_batch([request], **how)
        else:
            IntelligentBatchProcessor(**how)


def test_what_is_done_in_an_outage_travels_with_the_request(redis_url: str, fleet: None) -> None:
    request = BatchRequest("a fox", "qwen/qwen-image")
    job = enqueue(request, on_outage="fallback")
    with connect(redis_url) as redis:
        (kept,) = (redis.hget(key, "request") for key in redis.scan_iter(f"*:gen:{job.id}"))
    assert json.loads(str(kept))["on_outage"] == "fallback"
