"""One model of the catalogue after the other is gone: its items are held, or, where asked for, made by the next."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import replibatch
from replibatch import BatchRequest, BatchResult
from replibatch.catalog import load as load_catalog
from replibatch.limits.limiter import Limiter
from replibatch.limits.outages import of_model
from replibatch.redisdb.connection import connect
from replibatch.sandbox import Sandbox
from replibatch.sandbox.hosting import ModelSpec
from replibatch.settings import load
from tests.support.catalogue import FLUX, IMAGEN, KONTEXT, NANO, QWEN, ULTRA
from tests.support.waiting import until

CHAINS = {  # by the model asked for, and how many reference images there are
    (NANO, 0): [NANO, IMAGEN, FLUX, KONTEXT, QWEN],
    (IMAGEN, 0): [IMAGEN, FLUX, KONTEXT, QWEN],
    (FLUX, 0): [FLUX, KONTEXT, QWEN],
    (KONTEXT, 0): [KONTEXT, QWEN, FLUX],
    (QWEN, 0): [QWEN, FLUX, KONTEXT],
    (ULTRA, 0): [ULTRA, FLUX, KONTEXT, QWEN],
    (NANO, 1): [NANO, KONTEXT],
    (KONTEXT, 1): [KONTEXT, NANO],
    (ULTRA, 1): [ULTRA, KONTEXT, NANO],
}
TRIANGLE = [NANO, IMAGEN, FLUX, KONTEXT, ULTRA, QWEN]
OTHERS = sorted(load_catalog().models.keys() - set(TRIANGLE))
SINCE = re.compile(r"answers 404 since \d\d:\d\d UTC")


@pytest.fixture(autouse=True)
def quick() -> None:
    """The stand-in is quicker than the models."""
    tables = (f'["{name}"]\ntypical_seconds = 0.2\n' for name in (*TRIANGLE, *OTHERS))
    Path("replibatch.toml").write_text("".join(tables))


@pytest.fixture
def limiter(fleet: str) -> Any:
    with connect(fleet) as redis:
        yield Limiter(redis, load(), "looks")


def are_gone(sandbox: Sandbox, *models: str) -> None:
    sandbox.settings.models = {name: ModelSpec(missing=True) for name in models}


def out(limiter: Limiter) -> set[str]:
    return {outage.name for outage in limiter.status().outages}


def asked(model: str, prompt: str, picture: Path, references: int = 0) -> BatchRequest:
    """A request of what the model must have."""
    inputs = load_catalog().models[model].inputs
    if "prompt" in inputs:
        return BatchRequest(prompt, model, None, {"input_image": str(picture)} if references else {})
    return BatchRequest("", model, None, {"text": prompt} if "text" in inputs else {"image": str(picture)})


def reasons(result: BatchResult) -> list[str | None]:
    return [attempt.reason for attempt in result.attempts]


def test_its_items_are_held_within_three_attempts_and_made_by_no_other(
    sandbox: Sandbox, start_worker: Callable[..., Any], limiter: Limiter, picture: Callable[[str], Path]
) -> None:
    start_worker("--concurrency", "20")
    sandbox.settings.latency_seconds = 0.05
    here = picture("here.png")
    groups = [[model, *OTHERS[number :: len(TRIANGLE)]] for number, model in enumerate(TRIANGLE)]
    assert sorted(itertools.chain(*groups)) == sorted(load_catalog().models)
    for group in groups:
        sandbox.books.reset()
        are_gone(sandbox, *group)
        batch = replibatch.enqueue_batch([asked(model, f"of {model}", here) for model in group])
        until(lambda group=group: out(limiter) == {of_model(model) for model in group}, what=f"{group} are out")
        for outage in limiter.status().outages:
            assert SINCE.search(str(outage)), outage
        now = batch.progress()
        assert now.finished == 0 and now.total == len(group), "held"
        assert not sandbox.books.create_times
        are_gone(sandbox)
        limiter.resume(forget=True)
        for result in batch.results(30):
            assert result.success and result.model_used == result.model_name, result.error
            assert reasons(result)[:3] == ["model_missing", "model_missing", "held"], reasons(result)
            assert set(reasons(result)[3:-1]) <= {"held"} and reasons(result)[-1] is None
        assert {bill.model for bill in sandbox.books.bills()} == set(group)
        assert len(sandbox.books.create_times) == len(group)


def test_with_fallback_the_next_of_the_chain_that_is_there_makes_them(
    sandbox: Sandbox, start_worker: Callable[..., Any], limiter: Limiter, picture: Callable[[str], Path]
) -> None:
    start_worker("--concurrency", "40")
    sandbox.settings.latency_seconds = 0.05
    here = picture("here.png")
    for count in range(1, len(TRIANGLE) + 1):
        gone = TRIANGLE[:count]
        sandbox.books.reset()
        are_gone(sandbox, *gone)
        left = {key: [each for each in chain if each not in gone] for key, chain in CHAINS.items()}
        batch = replibatch.enqueue_batch(
            [asked(model, f"{model} {images}", here, images) for model, images in CHAINS],
            on_outage="fallback",
        )
        until(lambda gone=gone: out(limiter) == {of_model(model) for model in gone}, what=f"{gone} are out")
        made = sum(map(bool, left.values()))
        until(lambda made=made, batch=batch: batch.progress().finished == made, what=f"{made} are made")
        assert batch.progress().placeholder == batch.progress().failed == 0
        ended = {result.prompt: result for result in batch.so_far()}
        for (model, images), chain in CHAINS.items():
            there = left[model, images]
            if not there:
                assert f"{model} {images}" not in ended, "it waits for the last of its chain"
                continue
            result = ended[f"{model} {images}"]
            assert result.success and result.model_used == there[0]
            passed = chain[: chain.index(there[0])]
            said = [attempt for attempt in result.attempts if attempt.reason == "out"]
            assert [attempt.model for attempt in said] == passed
            assert all(SINCE.fullmatch(str(attempt.message)) for attempt in said)
            assert set(reasons(result)) <= {"model_missing", "held", "out", None}
        paid = Counter(bill.model for bill in sandbox.books.bills() for _ in bill.prediction_ids)
        assert paid == Counter(there[0] for there in left.values() if there)
        batch.cancel()


def test_one_that_goes_while_its_predictions_run_is_held_though_they_succeed_or_fail(
    sandbox: Sandbox, start_worker: Callable[..., Any], limiter: Limiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was created before tells nothing of its being there: no item goes to another model meanwhile."""
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "8")
    start_worker("--concurrency", "30")
    sandbox.settings.latency_seconds, sandbox.settings.jitter = 2.5, 0.9
    prompts = [f"number {number}{' [[interrupted:1]]' if number in (1, 4) else ''}" for number in range(16)]
    batch = replibatch.enqueue_batch([BatchRequest(prompt, IMAGEN) for prompt in prompts])
    until(lambda: len(sandbox.books.create_times) >= 8, what="some are in flight")
    are_gone(sandbox, IMAGEN)
    until(lambda: sandbox.books.in_flight == 0, what="those are over")
    assert out(limiter) == {of_model(IMAGEN)}
    sandbox.settings.latency_seconds = 0.05
    made = len(sandbox.books.create_times)
    assert {bill.model for bill in sandbox.books.bills()} == {IMAGEN} and made < len(prompts)
    assert sandbox.books.posts_by_status["404"] < len(prompts), "asked three times, and then one at a time"
    are_gone(sandbox)
    limiter.resume(forget=True)
    results = batch.results(60)
    assert [result.model_used for result in results] == [IMAGEN] * len(prompts)
    assert not sandbox.books.paid_twice()


def test_what_is_paused_meanwhile_does_not_start_once_the_model_is_back(
    sandbox: Sandbox, start_worker: Callable[..., Any], limiter: Limiter
) -> None:
    start_worker("--concurrency", "10")
    sandbox.settings.latency_seconds = 0.05
    are_gone(sandbox, IMAGEN)
    batch = replibatch.enqueue_batch([BatchRequest(f"number {number}", IMAGEN) for number in range(4)])
    until(lambda: out(limiter) == {of_model(IMAGEN)}, what="it is out")
    batch.pause()
    are_gone(sandbox)
    limiter.resume(forget=True)
    until(lambda: batch.progress().waiting == 4, what="all are back in the batch's list")
    assert not sandbox.books.create_times
    batch.resume()
    assert {result.model_used for result in batch.results(30)} == {IMAGEN}
