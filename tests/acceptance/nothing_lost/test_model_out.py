"""A model that is gone, met on the command line: held and said; the same command again lets the next stand in."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from replibatch.limits.limiter import Limiter
from replibatch.redisdb.connection import connect
from replibatch.sandbox import Sandbox
from replibatch.sandbox.hosting import ModelSpec
from replibatch.settings import load
from tests.support.catalogue import FLUX, IMAGEN
from tests.support.commands import Start, replibatch, results, write_prompts
from tests.support.waiting import until

RUN = ("run", "prompts.txt", "-m", IMAGEN, "-o", "out")
SAID = f"{IMAGEN} answers 404 since "
ITEMS = 5


@pytest.fixture
def gone(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A stand-in without a model of the catalogue, and a list for that model."""
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "2")
    sandbox.settings.models = {IMAGEN: ModelSpec(missing=True)}
    names = (IMAGEN, FLUX)
    Path("replibatch.toml").write_text("".join(f'["{name}"]\ntypical_seconds = 0.4\n' for name in names))
    write_prompts(ITEMS)
    return sandbox


def check_made_by_the_next(sandbox: Sandbox) -> None:
    assert len(sandbox.books.create_times) == ITEMS and not sandbox.books.paid_twice()
    assert {bill.model for bill in sandbox.books.bills()} == {FLUX}
    assert [line["model_used"] for line in results()] == [FLUX] * ITEMS
    assert not any(line["placeholder"] for line in results())


def test_paused_and_given_again(gone: Sandbox, start: Start) -> None:
    first = start(*RUN)
    until(lambda: SAID in first.errors_so_far(), what="the outage is said")
    until(lambda: "--on-outage fallback" in first.errors_so_far(), what="so is the way on")
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=60)
    assert first.returncode == 130, err
    assert results() == [] and not gone.books.create_times
    again = replibatch(*RUN, "--on-outage", "fallback")
    assert again.returncode == 0, again.stderr
    assert again.stderr.count(SAID) <= 1, "once"
    assert f"{ITEMS} of {ITEMS} items made, {ITEMS} by a fallback" in again.stdout
    assert f"\n{FLUX} made {ITEMS} items in place of {IMAGEN}: answers 404 since " in again.stdout
    check_made_by_the_next(gone)


def test_given_again_while_the_first_still_waits(
    fleet: str, gone: Sandbox, start: Start, start_worker: Callable[..., Any]
) -> None:
    start_worker("--concurrency", "20")
    first = start(*RUN)
    until(lambda: SAID in first.errors_so_far(), what="the outage is said")
    with connect(fleet) as redis:
        limiter = Limiter(redis, load(), "looks")
        until(lambda: limiter.status().waiting == ITEMS, what="all wait for the model")
    assert not gone.books.create_times
    again = replibatch(*RUN, "--on-outage", "fallback", "--json")
    assert again.returncode == 0, again.stderr
    summary = json.loads(again.stdout.splitlines()[-1])["summary"]
    [stand_in] = summary["stand_ins"]
    assert (stand_in["model"], stand_in["made_by"], stand_in["count"]) == (IMAGEN, FLUX, ITEMS)
    assert stand_in["why"].startswith("answers 404 since ")
    out, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    assert f"{FLUX} made {ITEMS} items in place of {IMAGEN}" in out
    check_made_by_the_next(gone)


def test_not_with_fallback_forbidden(gone: Sandbox) -> None:
    done = replibatch(*RUN, "--on-outage", "fallback", "--no-fallback")
    assert done.returncode == 2
    assert "--on-outage is fallback, and --no-fallback lets no other model stand in" in done.stderr
    assert not Path("out").exists() and not gone.books.post_times
