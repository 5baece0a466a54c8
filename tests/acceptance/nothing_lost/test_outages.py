"""What hits everybody: held, said, and nothing used up, paid again or lost. By the stand-in's books."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from replibatch.jobs.unknown import Unknown, UnknownCreates
from replibatch.limits import AccountStatus
from replibatch.limits.limiter import Limiter
from replibatch.redisdb.connection import connect
from replibatch.sandbox import Sandbox
from replibatch.settings import load
from tests.support.commands import MODEL, Start, replibatch, write_prompts
from tests.support.waiting import until
from tests.support.way import Way

# A server stopped in the midst of an answer leaves a socket to the garbage collector, in whichever test runs then.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")

StartWorker = Callable[..., Any]
ITEMS = 12


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLIBATCH_SETTLE_SECONDS", "2")
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "6")


@pytest.fixture
def way(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    with Way(urlsplit(sandbox.url).port or 0) as opened:
        monkeypatch.setenv("REPLICATE_BASE_URL", opened.url)
        yield opened


def status(fleet: str) -> AccountStatus:
    with connect(fleet) as redis:
        return Limiter(redis, load(), "looks").status()


def outages(fleet: str) -> list[str]:
    return [outage.name for outage in status(fleet).outages]


def all_made(run: Any, sandbox: Sandbox, *, creates: int = ITEMS, seconds: float = 60.0) -> str:
    out, err = run.communicate(timeout=seconds)
    assert run.returncode == 0, out + err
    lines = [json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines()]
    assert len(lines) == ITEMS and all(line["success"] for line in lines)
    assert {line["model_used"] for line in lines} == {MODEL}
    assert all((Path("out") / path).stat().st_size for line in lines for path in line["file_paths"])
    assert len(sandbox.books.create_times) == creates
    return str(err)


@pytest.mark.parametrize("how", ["refuse", "swallow"])
def test_no_way_to_the_api(
    fleet: str, sandbox: Sandbox, way: Way, start_worker: StartWorker, start: Start, how: str
) -> None:
    start_worker("--concurrency", "20")
    write_prompts(ITEMS)
    getattr(way, how)()
    run = start("run", "prompts.txt", "-m", MODEL, "-o", "out")
    until(lambda: {"api", "reads"} & set(outages(fleet)), what="the outage is shown", seconds=45)
    time.sleep(1)  # it lasts
    assert not sandbox.books.create_times
    way.pass_on()
    said = all_made(run, sandbox)
    assert "Replicate's API" in said
    until(lambda: outages(fleet) == [], what="it is over", seconds=5)


@pytest.mark.parametrize("fault", ["create-502-html", "create-500-api"])
def test_the_api_answers_with_errors(
    fleet: str, sandbox: Sandbox, start_worker: StartWorker, start: Start, fault: str
) -> None:
    start_worker("--concurrency", "20")
    write_prompts(ITEMS)
    sandbox.settings.fault_rates = {fault: 1.0}
    run = start("run", "prompts.txt", "-m", MODEL, "-o", "out")
    until(lambda: "api" in outages(fleet), what="the outage is shown", seconds=30)
    time.sleep(2)  # it lasts
    sandbox.settings.fault_rates = {}
    all_made(run, sandbox)


def test_the_way_breaks_in_the_midst(
    fleet: str, sandbox: Sandbox, way: Way, start_worker: StartWorker, start: Start
) -> None:
    sandbox.settings.latency_seconds = 4.0
    start_worker("--concurrency", "20")
    write_prompts(ITEMS)
    run = start("run", "prompts.txt", "-m", MODEL, "-o", "out")
    until(lambda: len(sandbox.books.create_times) >= 6, what="some are in flight")
    way.refuse()
    until(lambda: {"api", "reads"} & set(outages(fleet)), what="the outage is shown", seconds=30)
    time.sleep(1)  # it lasts
    way.pass_on()
    all_made(run, sandbox)


def test_outputs_cannot_be_fetched(fleet: str, sandbox: Sandbox, start_worker: StartWorker, start: Start) -> None:
    start_worker("--concurrency", "20")
    write_prompts(ITEMS)
    sandbox.settings.latency_seconds = 2.0
    sandbox.settings.fault_rates = {"download-503-html": 1.0}
    run = start("run", "prompts.txt", "-m", MODEL, "-o", "out")
    until(lambda: "outputs" in outages(fleet), what="the outage is shown", seconds=40)
    made = len(sandbox.books.create_times)
    assert made < ITEMS, "nothing more is created that could not be saved"
    time.sleep(2)  # long enough for a create too many
    assert len(sandbox.books.create_times) <= made + 1
    sandbox.settings.fault_rates = {}
    all_made(run, sandbox)


def test_the_storage_takes_no_files(
    fleet: str, sandbox: Sandbox, start_worker: StartWorker, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path("files").absolute()
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(folder))
    sandbox.settings.latency_seconds = 1.5
    start_worker("--concurrency", "20")
    write_prompts(ITEMS)
    run = start("run", "prompts.txt", "-m", MODEL, "-o", "out")
    until(lambda: len(sandbox.books.create_times) >= 6, what="some are in flight")
    folder.rename("elsewhere")
    folder.write_text("in its place")
    until(lambda: "storage" in outages(fleet), what="the outage is shown", seconds=30)
    made = len(sandbox.books.create_times)
    time.sleep(2)  # long enough for a create too many
    assert len(sandbox.books.create_times) <= made + 1 < ITEMS
    folder.unlink()
    Path("elsewhere").rename(folder)
    all_made(run, sandbox)


def test_a_model_that_fails_every_time(fleet: str, sandbox: Sandbox, start_worker: StartWorker, start: Start) -> None:
    start_worker("--concurrency", "20", REPLIBATCH_OUTAGE_AFTER="3")
    write_prompts(ITEMS)
    sandbox.settings.broken_models = frozenset({MODEL})
    run = start("run", "prompts.txt", "-m", MODEL, "-o", "out", "--no-fallback")
    until(lambda: outages(fleet) == [f"model:{MODEL}"], what="the outage is shown", seconds=20)
    until(lambda: status(fleet).in_flight == 0, what="what was in flight is over")
    made = len(sandbox.books.create_times)
    time.sleep(2)  # long enough for a create too many
    assert len(sandbox.books.create_times) <= made + 3, "one at a time is tried"
    sandbox.settings.broken_models = frozenset()
    replibatch("resume")
    out, err = run.communicate(timeout=60)
    lines = [json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines()]
    assert sum(line["success"] for line in lines) >= ITEMS - 2, out + err


def test_a_create_that_nothing_proves_is_said_by_the_run(
    fleet: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    sandbox.settings.latency_seconds = 2.0
    start_worker()
    write_prompts(1)
    with connect(fleet) as redis:
        held = Unknown("g1", MODEL, time.time(), ("p1",), "two rows may be it")
        UnknownCreates(redis, load().key_prefix).note(held)
    run = replibatch("run", "prompts.txt", "-m", MODEL, "-o", "out")
    assert "held: g1: two rows may be it" in run.stderr, run.stderr
    assert "replibatch settle g1 --created p1 | --not-created" in run.stderr
