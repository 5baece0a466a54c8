"""`replibatch doctor` on set-ups that are wrong, each in its own way, and on one that is right."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from replibatch import BatchRequest, enqueue
from replibatch.embedded.server import free_port
from replibatch.limits import Limiter
from replibatch.limits.process import process_name
from replibatch.producer import open_producer
from replibatch.redisdb.connection import connect
from replibatch.sandbox import Sandbox
from replibatch.settings import load
from tests.support.commands import replibatch
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

DOCTOR = [sys.executable, "-P", "-m", "replibatch", "doctor"]
TOKEN = "r8_of_the_tests"


@pytest.fixture
def fleet(durable_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fleet's Redis, set up as it should be."""
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", durable_redis.url)
    return durable_redis.url


@pytest.fixture
def worker(fleet: str, sandbox: Sandbox) -> None:
    """A worker in the registry, as its heartbeat leaves it there for a lease."""
    with connect(fleet) as redis:
        Limiter(redis, load(), process_name()).heartbeat({"host": "elsewhere", "pid": 1})


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, timeout=90, check=False)


def examine(*before: str, code: int) -> dict[str, dict[str, str]]:
    """What the doctor finds wrong, by subject."""
    done = run(*before, *DOCTOR, "--json") if before else replibatch("doctor", "--json")
    assert done.returncode == code, done.stdout + done.stderr
    assert not done.stderr and TOKEN not in done.stdout
    report = json.loads(done.stdout)
    assert report["ok"] == (code == 0)
    wrong = {check["subject"]: check for check in report["checks"] if check["state"] == "wrong"}
    assert all(check["mend"] for check in wrong.values())
    return wrong


def test_all_is_well_in_a_fleet_with_a_worker(
    fleet: str, sandbox: Sandbox, start_worker: Callable[..., subprocess.Popen[bytes]]
) -> None:
    start_worker("--concurrency", "2")
    assert examine(code=0) == {}


def test_people_read_a_line_for_each_check_and_one_for_each_mend(sandbox: Sandbox, fleet: str) -> None:
    with Redis.from_url(fleet) as redis:
        redis.config_set("appendonly", "no")
    done = run(*DOCTOR)
    assert done.returncode == 1 and not done.stderr and TOKEN not in done.stdout
    lines = done.stdout.splitlines()
    subjects = [f"redis {name}".strip() for name in ("", "version", "role", "persistence", "eviction", "memory")]
    subjects += ["token", "storage", "clock", "account", "workers"]
    checks = [line for line in lines if not line.startswith("  ")]
    assert [line[2:21].strip() for line in checks] == subjects
    mends = {lines[number - 1][2:21].strip() for number, line in enumerate(lines) if line.startswith("  ")}
    assert mends - {"redis version"} == {"redis persistence", "workers"}  # this server may be one with known holes


def test_all_is_well_in_embedded_mode_where_nothing_runs_yet(sandbox: Sandbox) -> None:
    assert examine(code=0) == {}
    assert len(sandbox.books.create_times) == 0


def test_no_redis(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", f"redis://:s3cret@127.0.0.1:{free_port()}/0")
    wrong = examine(code=1)
    assert list(wrong) == ["redis"]
    assert "no answer" in wrong["redis"]["found"] and "start Redis" in wrong["redis"]["mend"]
    assert "s3cret" not in str(wrong)


@pytest.mark.parametrize(
    ("directive", "value", "subject", "mend"),
    [
        ("appendonly", "no", "redis persistence", "appendonly yes"),
        ("maxmemory-policy", "volatile-lru", "redis eviction", "maxmemory-policy noeviction"),
    ],
)
def test_a_redis_that_may_lose_work(
    worker: None, fleet: str, directive: str, value: str, subject: str, mend: str
) -> None:
    with Redis.from_url(fleet) as redis:
        redis.config_set(directive, value)
    wrong = examine(code=1)
    assert list(wrong) == [subject] and mend in wrong[subject]["mend"]


def test_a_wrong_password(sandbox: Sandbox, fleet: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Redis.from_url(fleet) as redis:
        redis.config_set("requirepass", "right")
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", f"unix://:wr0ng@{fleet.removeprefix('unix://')}")
    wrong = examine(code=1)
    assert list(wrong) == ["redis"]
    assert "refuses the password" in wrong["redis"]["found"] and "REPLIBATCH_REDIS_URL" in wrong["redis"]["mend"]
    assert "wr0ng" not in str(wrong)


def test_a_wrong_token(worker: None, sandbox: Sandbox) -> None:
    sandbox.settings.accepted_tokens = frozenset({"another"})
    wrong = examine(code=1)
    assert list(wrong) == ["token"]
    assert "api-tokens" in wrong["token"]["mend"]


def test_no_token_is_wrong_where_the_work_is_done_here(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REPLICATE_API_TOKEN")
    assert list(examine(code=1)) == ["token"]


def test_an_api_that_is_not_there(worker: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_BASE_URL", f"http://127.0.0.1:{free_port()}")
    wrong = examine(code=1)
    assert set(wrong) == {"token", "workers"}  # another server is another account, which has no worker
    assert "REPLICATE_BASE_URL" in wrong["token"]["mend"]


def test_a_storage_that_cannot_be_written(
    worker: None, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "outputs"
    folder.mkdir(mode=0o555)
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(folder))
    wrong = examine(*as_one_who_obeys_modes(), code=1)
    assert list(wrong) == ["storage"]
    assert str(folder) in wrong["storage"]["found"] and "write" in wrong["storage"]["mend"]
    assert list(folder.iterdir()) == []


def as_one_who_obeys_modes() -> list[str]:
    """Root writes wherever it likes, unless it gives up that capability."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    assert setpriv, "run the tests as an ordinary user, or install util-linux"
    return [setpriv, "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]


def test_no_worker(sandbox: Sandbox, fleet: str) -> None:
    wrong = examine(code=1)
    assert list(wrong) == ["workers"]
    assert "replibatch worker" in wrong["workers"]["mend"]


def test_an_account_that_is_stopped(
    fleet: str, sandbox: Sandbox, start_worker: Callable[..., subprocess.Popen[bytes]]
) -> None:
    sandbox.settings.credit_usd = 0.0
    start_worker("--concurrency", "2")
    enqueue(BatchRequest("a fox", "qwen/qwen-image"))
    until(lambda: open_producer().limiter.status().stop, what="the account is stopped")
    wrong = examine(code=1)
    assert list(wrong) == ["account"]
    assert "NoCredit" in wrong["account"]["found"] and "add credit" in wrong["account"]["mend"]
