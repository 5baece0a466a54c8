"""An id that is none is one line, whatever it would name in Redis."""

from __future__ import annotations

import pytest

from replibatch import Batch, BatchRequest, Job, enqueue_batch
from replibatch.errors import NoSuchWork, SettingsError


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
