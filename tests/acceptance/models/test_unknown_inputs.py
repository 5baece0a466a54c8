"""What a model takes cannot be read: nothing is dropped, one line says so, and the fleet learns it from a worker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

import replibatch
from replibatch import BatchRequest
from replibatch.errors import ReplibatchWarning, RequestError
from replibatch.sandbox import Sandbox
from replibatch.sandbox.hosting import ModelSpec
from replibatch.settings import load
from tests.support.custody import Start
from tests.support.waiting import until

NAME = "acme/unknown"
TABLE = f'["{NAME}"]\nkind = "image"\nprice_usd = 0.01\n'
INPUTS = {"prompt": {"type": "string"}, "style": {"type": "string"}, "config": {"type": "object"}}
GIVEN: dict[str, Any] = {"style": "ink", "config": {"deep": [1, {"er": None}]}, "not_in_the_schema": 3}


@pytest.fixture
def model(sandbox: Sandbox) -> Sandbox:
    sandbox.settings.models = {NAME: ModelSpec(inputs=INPUTS)}
    Path("replibatch.toml").write_text(TABLE)
    return sandbox


def sent(sandbox: Sandbox) -> dict[str, Any]:
    (bill,) = sandbox.books.bills()
    return bill.input


@pytest.mark.parametrize("why", ["503", "null"])
def test_a_schema_that_cannot_be_read_drops_nothing(model: Sandbox, why: str) -> None:
    if why == "503":
        model.settings.fault_rates = {"model-503-html": 1.0}
    else:
        model.settings.models = {NAME: ModelSpec(inputs=INPUTS, schema_shown=False)}
    result = replibatch.enqueue(BatchRequest("a fox", NAME, "fox.png", GIVEN)).result(60)
    assert result.success, result.error
    assert sent(model) == {"prompt": "a fox", **GIVEN}
    assert result.warnings == (f"{NAME}: its inputs are not known; they are sent as they are",)


def test_a_producer_without_a_token_learns_from_what_a_worker_has_read(
    model: Sandbox, fleet: str, start_worker: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "files"))
    start_worker("--concurrency", "4")
    monkeypatch.delenv("REPLICATE_API_TOKEN")
    first = replibatch.enqueue(BatchRequest("a fox", NAME, "fox.png", GIVEN)).result(60)
    assert first.success and "not known" in first.warnings[0]
    assert sent(model) == {"prompt": "a fox", **GIVEN}
    with Redis.from_url(fleet, decode_responses=True) as redis:
        key = f"{load().key_prefix}models"
        until(lambda: redis.hexists(key, NAME), what="the worker has read the schema")
        kept = json.loads(str(redis.hget(key, NAME)))
    assert kept["version"] and kept["read_at"] > 1e9 and set(kept["inputs"]) == set(INPUTS)
    monkeypatch.setenv("REPLIBATCH_READS_OF_THE_TEST", "1")
    with replibatch_anew() as enqueue:
        with pytest.raises(RequestError, match="style is 5; allowed: text"):
            enqueue(BatchRequest("a fox", NAME, "other.png", {"style": 5}))
        with pytest.warns(ReplibatchWarning, match="no input 'not_in_the_schema'"):
            second = enqueue(BatchRequest("another fox", NAME, "other.png", GIVEN)).result(60)
    assert second.success
    assert any("no input 'not_in_the_schema'; left out" in warning for warning in second.warnings)


class replibatch_anew:  # noqa: N801  # reads like the module
    """The module's calls, by a producer that has read its catalogue now."""

    def __enter__(self) -> Callable[[BatchRequest], Any]:
        from replibatch.producer import producer

        producer._producers.clear()
        return replibatch.enqueue

    def __exit__(self, *_: object) -> None: ...


def test_what_looks_like_a_secret_is_not_taken_in_plain(model: Sandbox) -> None:
    model.settings.models = {NAME: ModelSpec(inputs=INPUTS, schema_shown=False)}
    with pytest.raises(RequestError) as caught:
        replibatch.enqueue(BatchRequest("a fox", NAME, "fox.png", {"hf_token": "hf_plain"}))
    assert "hf_token is given in plain; allowed: env:NAME" in str(caught.value) and "hf_plain" not in str(
        caught.value
    )
