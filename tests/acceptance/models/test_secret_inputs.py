"""A secret input reaches the model, and nobody else: not the files, not Redis, not a log, not Flower."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from replibatch.sandbox import Sandbox
from tests.support.commands import replibatch as command
from tests.support.flower_server import FlowerServer
from tests.support.redis_server import RedisServer
from tests.support.shapes_of_models import SHAPES
from tests.support.waiting import until

NAME = "acme/with-secret"
VARIABLE, SECRET = "SECRET_OF_THE_TESTS", SHAPES[NAME].sent["hf_token"]
PAGES = ("/", "/replibatch", "/replibatch/fleet.json", "/tasks", "/api/tasks", "/workers", "/metrics")


def files_with(text: str, *folders: Path) -> str:
    command = ["grep", "-rlF", "--binary-files=text", text, *map(str, folders)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.fixture
def worker(
    sandbox: Sandbox, durable_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """The fleet's one worker, which alone has the secret in its environment."""
    sandbox.settings.models = {NAME: SHAPES[NAME].model}
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", durable_redis.url)
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "files"))
    said = (tmp_path / "worker.log").open("wb")
    started = subprocess.Popen(
        [sys.executable, "-P", "-m", "replibatch", "worker", "--log-format", "json"],
        stdout=said,
        stderr=said,
        env={**os.environ, VARIABLE: SECRET},
    )
    yield started
    started.terminate()
    started.wait(20)
    said.close()


def test_it_is_nowhere_but_at_the_model(
    sandbox: Sandbox, worker: subprocess.Popen[bytes], durable_redis: RedisServer, tmp_path: Path
) -> None:
    assert command("models", "add", NAME, "--price", "0.01").returncode == 0
    Path("list.txt").write_text("a fox\na bear [[failed]]\nan owl [[bad-key]]\n")
    flower = FlowerServer(tmp_path, {})
    try:
        run = command("run", "list.txt", "-m", NAME, "-o", "out", "-i", f"hf_token=env:{VARIABLE}", "--no-fallback")
        assert "1 of 3 items made" in run.stderr + run.stdout, run.stderr
        until(lambda: "acme" in flower.client.get("/replibatch/fleet.json").text, what="Flower has heard of it")
        for page in PAGES:
            assert SECRET not in flower.client.get(page).text, page
    finally:
        flower.close()
    assert {bill.input["hf_token"] for bill in sandbox.books.bills()} == {SECRET}
    assert SECRET not in run.stdout + run.stderr
    with Redis.from_url(durable_redis.url, decode_responses=True) as redis:
        folder = Path(redis.config_get("dir")["dir"])
    assert files_with(f"env:{VARIABLE}", folder) and files_with(NAME, tmp_path)
    assert files_with(SECRET, tmp_path, folder) == ""
    assert f"env:{VARIABLE}" in Path("out/results.jsonl").read_text()


def test_one_that_no_worker_has_or_may_give_away_fails_before_anything_is_created(
    sandbox: Sandbox, worker: subprocess.Popen[bytes]
) -> None:
    assert command("models", "add", NAME, "--price", "0.01").returncode == 0
    Path("list.txt").write_text("a fox\n")
    for variable, words in (
        ("NOT_SET", "a variable that is set where the workers run"),
        ("REPLICATE_API_TOKEN", "own"),
    ):
        run = command("run", "list.txt", "-m", NAME, "-o", variable, "-i", f"hf_token=env:{variable}", "--json")
        assert run.returncode == 1
        assert words in Path(variable, "results.jsonl").read_text()
    plain = command("run", "list.txt", "-m", NAME, "-o", "out", "-i", f"hf_token={SECRET}")
    assert plain.returncode == 2 and SECRET not in plain.stdout + plain.stderr
    assert "hf_token is given in plain; allowed: env:NAME" in plain.stderr
    assert not sandbox.books.create_times
