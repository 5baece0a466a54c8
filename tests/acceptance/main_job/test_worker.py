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
from redis import Redis

from replibatch.broker.app import make_app
from replibatch.sandbox import Sandbox
from replibatch.settings import load
from tests.support.custody import Start
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

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


def test_a_wrong_password_ends_it_at_once(durable_redis: RedisServer, sandbox: Sandbox) -> None:
    with Redis.from_url(durable_redis.url) as redis:
        redis.config_set("requirepass", "right")
    address = f"unix://:wrong@{durable_redis.url.removeprefix('unix://')}"
    environment = {**os.environ, "REPLIBATCH_REDIS_URL": address}
    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 2
    assert "refuses the password" in done.stderr and "wrong@" not in done.stderr and "Traceback" not in done.stderr


def test_a_redis_that_may_lose_work_is_warned_of(durable_redis: RedisServer, sandbox: Sandbox) -> None:
    with Redis.from_url(durable_redis.url) as redis:
        redis.config_set("appendfsync", "everysec")
        redis.config_set("maxmemory-policy", "allkeys-lru")
    log = Path("log")
    with log.open("w") as said:
        environment = {**os.environ, "REPLIBATCH_REDIS_URL": durable_redis.url}
        worker = subprocess.Popen([*COMMAND, "--log-format", "json"], stdout=said, stderr=said, env=environment)
    try:
        until(lambda: worker.poll() is not None or '"ready"' in log.read_text(), what="the worker is ready")
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        mends = [line["mend"] for line in lines if line["level"] == "warning"]
        mends = [mend for mend in mends if not mend.startswith("install Redis")]  # of this server's own version
        assert mends == ["set appendfsync always", "set maxmemory-policy noeviction"]
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    finally:
        worker.kill()


def test_a_plain_celery_worker_waits_for_redis(
    sandbox: Sandbox, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", redis_server.url)
    redis_server.stop()
    log = Path("log")
    with log.open("w") as said:
        command = [sys.executable, "-P", "-m", "celery", "-A", "workers", "worker", "--concurrency", "3"]
        worker = subprocess.Popen(command, stdout=said, stderr=said)
    try:
        until(lambda: worker.poll() is not None or "waiting for redis" in log.read_text(), what="it waits")
        redis_server.restart()
        until(lambda: worker.poll() is not None or "concurrency: 3" in log.read_text(), what="it is ready")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
        assert "Traceback" not in log.read_text()
    finally:
        worker.kill()


def test_of_its_broker_it_says_where_that_is_and_no_more(sandbox: Sandbox, start_worker: Start, fleet: str) -> None:
    """The rest would hold the passwords of sentinels, for Flower and whoever else asks."""
    start_worker()
    ask, answers = make_app(load(), fleet).control.inspect(timeout=2, limit=1), {}
    until(lambda: answers.update(ask.stats() or {}) or answers, what="its consumer has started, too")
    (stats,) = answers.values()
    assert set(stats["broker"]) == {"transport", "hostname", "port", "virtual_host"}
