"""`replibatch limits` and `status` as an operator's commands, on a fleet that works."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from replibatch import BatchRequest, enqueue_batch
from replibatch.sandbox import Sandbox
from tests.support import forks
from tests.support.waiting import until

COMMAND = [sys.executable, "-P", "-m", "replibatch"]
StartWorker = Callable[..., "subprocess.Popen[bytes]"]


def replibatch(*arguments: str, code: int = 0, **environment: str) -> str:
    done = forks.run(arguments, timeout_seconds=90, env={**os.environ, **environment})
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout or done.stderr


def status() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(replibatch("status", "--json"))
    return told


def test_a_limit_that_is_set_wins_holds_within_seconds_and_goes_when_cleared(
    fleet: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    sandbox.settings.latency_seconds = 0.4
    worker = start_worker("--concurrency", "8", REPLICATE_GLOBAL_MAX_CONCURRENT="6")
    assert status()["global_max_concurrent"] == 6
    assert f"/{worker.pid}/" in status()["sources"]["max_concurrent"]

    shown = replibatch("limits", "set", "--max-concurrent", "2", "--budget", "0.25")
    assert shown.splitlines()[0].split()[:3] == ["max", "concurrent", "2"]
    assert "limits set" in shown
    batch = enqueue_batch(BatchRequest(f"p{number}", "qwen/qwen-image") for number in range(12))
    results = batch.results(timeout=90)
    assert sandbox.books.peak_in_flight == 2
    assert sum(result.success for result in results) == 10  # of $0.025 each
    assert sandbox.books.cost_usd == pytest.approx(0.25)

    assert json.loads(replibatch("limits", "show", "--json"))["budget_usd"] == 0.25
    replibatch("limits", "clear", "--max-concurrent")
    now = status()
    assert (now["global_max_concurrent"], now["budget_usd"]) == (6, 0.25)
    replibatch("limits", "clear")
    now = status()
    assert now["budget_usd"] is None and f"/{worker.pid}/" in now["sources"]["max_concurrent"]
    assert [each["name"].split("/")[1] for each in now["workers"]] == [str(worker.pid)]


def test_a_limit_that_was_given_lapses_with_its_process(
    fleet: str, sandbox: Sandbox, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLIBATCH_LEASE_SECONDS", "2")
    worker = start_worker("--concurrency", "2", REPLICATE_GLOBAL_MAX_CONCURRENT="6")
    assert status()["global_max_concurrent"] == 6
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    until(lambda: not status()["workers"], what="the worker is taken for dead")
    now = status()
    assert (now["global_max_concurrent"], now["sources"]["max_concurrent"]) == (60, "default")


def test_a_stopped_account_says_why_and_how_to_go_on(fleet: str, sandbox: Sandbox, start_worker: StartWorker) -> None:
    sandbox.settings.credit_usd = 0.0
    start_worker("--concurrency", "2")
    enqueue_batch([BatchRequest("a fox", "qwen/qwen-image")])
    until(lambda: status()["stopped"], what="the account is stopped")
    told = replibatch("status")
    assert "NoCredit" in told and "add credit" in told


def test_watched_by_a_machine_it_is_an_object_a_line(fleet: str, sandbox: Sandbox) -> None:
    watch = subprocess.Popen([*COMMAND, "status", "--watch", "--json"], stdout=subprocess.PIPE, text=True)
    assert watch.stdout is not None
    looks = [json.loads(watch.stdout.readline()) for _ in range(2)]
    assert all(look["global_max_concurrent"] == 60 for look in looks)
    watch.send_signal(signal.SIGINT)
    assert watch.wait(30) == 130
    watch.stdout.close()
