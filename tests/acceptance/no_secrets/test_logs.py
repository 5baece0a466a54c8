"""A worker's log: one form for every line of it, ids that can be searched for, nothing secret."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import replibatch
from replibatch import BatchRequest
from replibatch.sandbox import Sandbox
from tests.support.waiting import until

MODEL = "qwen/qwen-image"
StartWorker = Callable[..., subprocess.Popen[bytes]]

DYING = """
import logging, sys, threading, warnings
from replibatch import logs
logs.configure(sys.argv[1], level=logging.INFO, others=logging.INFO)
import structlog

secret = "_".join(["r8", "in", "a", "local", "variable"])  # from Python 3.13 on the lines of a -c are shown

def fail(token):
    raise ValueError("it went wrong")

try:
    fail(secret)
except ValueError:
    structlog.get_logger().exception("ours")
    logging.getLogger("celery.worker").exception("a library's")
thread = threading.Thread(target=fail, args=[secret], name="one that dies")
thread.start()
thread.join()
warnings.warn("mind the gap")
"""


def test_as_json_every_line_is_an_object_with_its_ids_celerys_own_too(
    start_worker: StartWorker, sandbox: Sandbox, tmp_path: Path
) -> None:
    worker = start_worker("--concurrency", "2", "--log-format", "json", "--verbose")
    batch = replibatch.enqueue_batch([BatchRequest("a harbour", MODEL), BatchRequest("[[drop-after]]", MODEL)])
    (first, _) = batch.results(60)
    worker.terminate()
    assert worker.wait(30) == 0
    text = (tmp_path / "worker-0.log").read_text()
    assert "r8_of_the_tests" not in text
    lines = [json.loads(line) for line in text.splitlines()]
    settled = [line for line in lines if line["event"] == "settled"]
    assert {line["batch"] for line in settled} == {batch.id}
    assert first.attempts[0].prediction_id in {line["prediction"] for line in settled}
    assert all(line["generation"] and line["attempt"] for line in settled)
    assert any(line.get("logger", "").startswith("celery") for line in lines)


@pytest.mark.parametrize("log_format", ["lines", "json"])
def test_tracebacks_show_no_variables_and_threads_and_warnings_take_the_same_form(log_format: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DYING, log_format], capture_output=True, text=True, timeout=60, check=True
    )
    assert "r8_in_a_local_variable" not in done.stderr
    assert done.stderr.count("ValueError: it went wrong") == 3 and "mind the gap" in done.stderr
    if log_format == "json":
        lines = [json.loads(line) for line in done.stderr.splitlines()]
        assert [line["event"] for line in lines] == ["ours", "a library's", "a thread died", "mind the gap"]
        assert all("Traceback" in line["exception"] for line in lines[:3])


def test_celerys_own_command_logs_in_the_same_form(
    start_worker: StartWorker, sandbox: Sandbox, tmp_path: Path
) -> None:
    by = ("celery", "-A", "workers", "worker", "--pool", "threads", "--loglevel", "INFO")
    start_worker("--concurrency", "2", by=by)
    replibatch.enqueue(BatchRequest("a harbour", MODEL)).result(60)
    log = tmp_path / "worker-0.log"
    until(lambda: "[info     ] settled" in log.read_text(), what="our own line")
    assert re.search(r"\d\d:\d\d:\d\d \[info     \] .* ready\. +\[celery\.apps\.worker\]", log.read_text())
