"""`enqueue(…, link=…)` as an application has it: its own Celery app, its own worker, its own queue."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import replibatch
from replibatch import BatchRequest, BatchResult
from replibatch.broker.app import celery_url
from replibatch.errors import RequestError
from replibatch.sandbox import Sandbox
from tests.support.waiting import until

MODEL = "qwen/qwen-image"
APPLICATION = """
import json, os
from celery import Celery

app = Celery("shop", broker=os.environ["SHOP_BROKER"], backend=os.environ["SHOP_BROKER"])

@app.task(name="shop.picture_made", bind=True)
def picture_made(self, result):
    with open("made.jsonl", "a") as file:
        file.write(json.dumps({"id": self.request.id, "job": self.request.parent_id, "result": result}) + "\\n")
"""


@pytest.fixture
def start_shop(fleet: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Starts the application's own worker."""
    Path("shop.py").write_text(APPLICATION)
    monkeypatch.setenv("SHOP_BROKER", celery_url(fleet))
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> None:
        command = [sys.executable, "-m", "celery", "-A", "shop", "worker", "--pool", "solo", *options]
        with Path("shop.log").open("wb") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log))

    yield start
    for process in started:
        process.terminate()
        process.wait(20)


def made() -> list[dict[str, Any]]:
    file = Path("made.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_the_applications_task_is_called_with_each_result_whatever_it_is(
    sandbox: Sandbox, start_worker: Callable, start_shop: Callable
) -> None:
    start_shop()
    start_worker()
    prompts = ("a hedge", "a wall [[failed]]", "a moat [[failed@qwen/qwen-image]]")
    jobs = {
        replibatch.enqueue(BatchRequest(prompt, MODEL, f"{index}.png"), link="shop.picture_made").id: prompt
        for index, prompt in enumerate(prompts)
    }
    until(lambda: len(made()) == 3, what="the application has heard of all three")
    for call in made():
        result = BatchResult.from_json(call["result"])
        assert jobs[call["job"]] == result.prompt and call["id"] == f"{call['job']}-link"
    assert {call["result"]["prompt"]: call["result"]["state"] for call in made()} == {
        "a hedge": "succeeded",
        "a wall [[failed]]": "placeholder",
        "a moat [[failed@qwen/qwen-image]]": "succeeded",
    }


def test_a_canceled_one_is_told_though_no_worker_runs_and_to_the_queue_that_was_named(
    sandbox: Sandbox, start_shop: Callable
) -> None:
    job = replibatch.enqueue(BatchRequest("a fence", MODEL), link="shop.picture_made", link_queue="pictures")
    assert job.cancel()
    start_shop("-Q", "pictures")
    until(made, what="the application has heard of it")
    assert [call["result"]["state"] for call in made()] == ["canceled"]


def test_a_worker_that_dies_right_after_the_settle_owes_no_call(
    sandbox: Sandbox,
    start_worker: Callable,
    start_shop: Callable,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("REPLIBATCH_LEASE_SECONDS", "2")
    start_shop()
    point = "after settle, before the task ends"
    victim = start_worker(by=("tests.support.crashing_worker", point, "SIGKILL", str(tmp_path / "hit")))
    job = replibatch.enqueue(BatchRequest("a limiter", MODEL, "gate.png"), link="shop.picture_made")
    assert victim.wait(30) == -signal.SIGKILL
    assert job.result(5).success and made() == []
    start_worker()
    until(made, what="another worker has called it")
    assert [call["job"] for call in made()] == [job.id]
    assert len(sandbox.books.create_times) == 1


@pytest.mark.parametrize(("link", "queue"), [("", "celery"), (print, "celery"), ("app.task", "")])
def test_what_is_no_name_is_refused_before_anything_is_enqueued(sandbox: Sandbox, link: Any, queue: str) -> None:
    with pytest.raises(RequestError, match="expected: a "):
        replibatch.enqueue(BatchRequest("a stile", MODEL), link=link, link_queue=queue)
    assert replibatch.get_global_status()["total_requests"] == 0
