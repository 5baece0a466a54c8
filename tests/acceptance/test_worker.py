"""`replibatch worker` as a process: it starts anywhere, says what it does, and stops when told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from replibatch.sandbox import Sandbox
from tests.acceptance.conftest import until

COMMAND = [sys.executable, "-m", "replibatch", "worker"]


def test_a_workers_package_of_the_user_does_not_shadow_ours_and_sigterm_ends_it_in_seconds(
    fleet: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("workers").mkdir()
    Path("workers/__init__.py").write_text("raise SystemExit('the wrong workers')")
    log = Path("log")
    with log.open("w") as said:
        worker = subprocess.Popen([*COMMAND, "--log-format", "json", "--concurrency", "7"], stdout=said, stderr=said)
    try:
        until(lambda: worker.poll() is not None or '"ready"' in log.read_text(), what="the worker is ready")
        ready = next(json.loads(line) for line in log.read_text().splitlines() if '"ready"' in line)
        assert ready["concurrency"] == 7
        began = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
        assert time.monotonic() - began < 10
        assert "r8_of_the_tests" not in log.read_text()
    finally:
        worker.kill()


def test_without_a_token_it_does_not_start(fleet: str) -> None:
    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stderr == "replibatch: REPLICATE_API_TOKEN is not set; a worker needs the account's token\n"


def test_a_token_that_is_refused_ends_it_with_the_reason(fleet: str, sandbox: Sandbox) -> None:
    sandbox.settings.accepted_tokens = frozenset({"another"})
    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "token" in done.stderr and os.environ["REPLICATE_API_TOKEN"] not in done.stderr
    assert "Traceback" not in done.stderr
