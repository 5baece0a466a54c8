"""`docker-compose.yml` and `Dockerfile`: what they promise, and every service's own command line at work."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from redis.exceptions import RedisError

from replibatch import BatchRequest, __version__, enqueue_batch
from replibatch.embedded.server import free_port
from replibatch.producer import open_producer
from replibatch.redisdb.health import Health, check_server
from replibatch.sandbox import Sandbox
from tests.support import PROJECT
from tests.support.compose import MissingVariable, Stack, read, seconds
from tests.support.waiting import until

VARIABLES = {"REPLICATE_API_TOKEN": "r8_of_the_tests", "REDIS_PASSWORD": "p" * 64, "FLOWER_BASIC_AUTH": "ann:secret"}
SECRET = "s3cret-of-the-token"


@pytest.fixture
def services() -> dict[str, Any]:
    return read(VARIABLES)


def test_images_are_pinned_to_a_version(services: dict[str, Any]) -> None:
    images = {name: service["image"] for name, service in services.items()}
    assert set(images) == {"redis", "worker", "flower", "gateway"}
    assert images["worker"] == images["flower"] == images["gateway"] == f"replibatch:{__version__}"
    assert re.fullmatch(r"redis:[78]\.\d+\.\d+-\w+", images["redis"])
    bases = re.findall(r"^(?:FROM|ARG PYTHON=) ?(\S+)", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    assert set(bases) == {"${PYTHON}", bases[0]}
    assert re.fullmatch(r"python:3\.1[123]\.\d+-slim-\w+", bases[0])


def test_a_worker_can_write_to_the_storage_alone_and_is_nobody_special(services: dict[str, Any]) -> None:
    for name in ("worker", "flower"):
        service = services[name]
        assert service["read_only"] and service["tmpfs"] == ["/tmp"]
        assert service["user"] == "10001:10001" and service["cap_drop"] == ["ALL"]
        assert "container_name" not in service  # which `--scale` could not make twice
        assert service["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert services["worker"]["volumes"] == ["outputs:/outputs"]
    assert services["flower"]["volumes"] == ["outputs:/outputs:ro"]
    assert "ports" not in services["worker"]


def test_the_token_is_given_to_the_workers_alone(services: dict[str, Any]) -> None:
    found = read({**VARIABLES, "REPLICATE_API_TOKEN": SECRET})
    assert SECRET in str(found["worker"])
    assert SECRET not in str(found["redis"]) and SECRET not in str(found["flower"])
    assert "env_file" not in found["redis"] and "env_file" not in found["flower"]


def test_what_is_published_is_published_to_this_machine_alone(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published and all(port.startswith("127.0.0.1:") for port in published)


@pytest.mark.parametrize("name", VARIABLES)
def test_nothing_starts_without_password_token_and_login(name: str) -> None:
    with pytest.raises(MissingVariable, match=name):
        read({**VARIABLES, name: ""})


def test_the_example_names_every_variable_of_the_file() -> None:
    example = (PROJECT / ".env.example").read_text()
    insisted_on = set(re.findall(r"\$\{(\w+):\?", (PROJECT / "docker-compose.yml").read_text()))
    assert insisted_on == set(VARIABLES) == set(re.findall(r"^(\w+)=$", example, re.MULTILINE))
    assert re.search(r"^#OUTPUTS=", example, re.MULTILINE)


def test_the_image_is_made_of_what_the_build_needs_and_of_no_secret(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REPLICATE_API_TOKEN=secret")
    context = build_context()
    assert {"pyproject.toml", "constraints.txt", "README.md", "LICENSE"} <= context
    assert {
        "replibatch/cli/commands/worker.py",
        "replibatch/limits/lua/limiter.lua",
        "replibatch/worker/app.py",
    } <= context
    assert not any(path.startswith((".", "tests/")) or path.endswith(".pyc") for path in context)
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE):
        for source in sources.split():
            assert any(path == source or path.startswith(f"{source}/") for path in context), source


def build_context() -> set[str]:
    """The files of the checkout that `.dockerignore` lets through."""
    rules = [line for line in (PROJECT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    tracked = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True)
    paths = [*tracked.stdout.splitlines(), ".env", "replibatch/__pycache__/errors.pyc"]
    return {path for path in paths if is_let_through(path, rules)}


def is_let_through(path: str, rules: list[str]) -> bool:
    """The last rule that matches the path, or a folder it is in, decides."""
    parents = [path, *map(str, Path(path).parents)][:-1]
    ignored = False
    for rule in rules:
        pattern = rule.lstrip("!").removeprefix("**/")
        anywhere = rule.startswith("**/")
        if any(fnmatch.fnmatch(Path(each).name if anywhere else each, pattern) for each in parents):
            ignored = not rule.startswith("!")
    return not ignored


@pytest.fixture
def stack(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """The file's services, to be started, and this process as a producer that shares their storage."""
    variables = {**VARIABLES, "REPLICATE_BASE_URL": sandbox.url, "REPLIBATCH_LEASE_SECONDS": "5"}
    stack = Stack(tmp_path, variables, free_port(), free_port())
    monkeypatch.delenv("REPLICATE_API_TOKEN")  # a producer needs none
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", stack.redis_url())
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(stack.outputs))
    monkeypatch.setenv("REPLIBATCH_LEASE_SECONDS", "5")
    return stack


def is_healthy(stack: Stack) -> bool:
    """What the file's own health check says of Redis."""
    check = stack.services["redis"]["healthcheck"]["test"]
    assert check[0] == "CMD-SHELL"
    command = check[1].replace("redis-cli", f"redis-cli -p {stack.redis_port}")
    environment = {"PATH": os.environ["PATH"], **stack.services["redis"]["environment"]}
    return subprocess.run(["sh", "-c", command], env=environment, capture_output=True, check=False).returncode == 0


def test_every_service_runs_by_its_own_command_line_and_one_batch_arrives(stack: Stack, sandbox: Sandbox) -> None:
    running: list[subprocess.Popen[bytes]] = []
    try:
        redis = stack.start("redis")
        running.append(redis)
        if shutil.which("redis-cli"):
            until(lambda: is_healthy(stack), what="Redis is healthy")
        until(lambda: answers(stack), what="Redis answers")
        with Redis.from_url(stack.redis_url(), decode_responses=True) as client:
            # A note is allowed: the server of this machine may be a version with known holes.
            assert Health.WRONG not in {finding.state for finding in check_server(client)}
        workers = [stack.start("worker", number) for number in (1, 2)]
        running += [*workers, flower := stack.start("flower")]
        until(lambda: len(live()) == 2 or any(worker.poll() for worker in workers), what="both workers are ready")
        assert live() == {worker.pid for worker in workers}, stack.log("worker").read_text()

        batch = enqueue_batch(BatchRequest(f"a quay {number}", "qwen/qwen-image") for number in range(12))
        results = batch.results(timeout=90)
        assert all(result.success for result in results)
        saved = [path for path in stack.outputs.rglob("*") if path.is_file() and path.suffix in (".webp", ".png")]
        assert len(saved) == 12

        page = f"http://127.0.0.1:{stack.flower_port}/replibatch"
        until(lambda: flower.poll() is not None or asked(page) == 401, what="Flower asks for a password")
        assert asked(page, auth=tuple(VARIABLES["FLOWER_BASIC_AUTH"].split(":"))) == 200

        sandbox.settings.latency_seconds = 4.0
        batch = enqueue_batch(BatchRequest(f"a pier {number}", "qwen/qwen-image") for number in range(12))
        until(lambda: sandbox.books.in_flight == 12, what="both work")
        end(workers[0], seconds(stack.services["worker"]["stop_grace_period"]))
        assert all(result.success for result in batch.results(timeout=90))
        assert len(sandbox.books.create_times) == 24 and not sandbox.books.paid_twice()
        end(workers[1], seconds(stack.services["worker"]["stop_grace_period"]))
        end(flower, seconds(stack.services["flower"]["stop_grace_period"]))
        end(redis, seconds(stack.services["redis"]["stop_grace_period"]))
    finally:
        for process in running:
            process.kill()
            process.wait()
    for log in (stack.log("worker", 1), stack.log("worker", 2), stack.log("flower")):
        said = log.read_text()
        assert all(isinstance(json.loads(line), dict) for line in said.splitlines()), said
        before = [line for line in said.partition('"ready"')[0].splitlines() if "known holes" not in line]
        assert '"warning"' not in "".join(before), said  # nothing to fix in this set-up
        assert not any(secret in said for secret in VARIABLES.values())


def answers(stack: Stack) -> bool:
    with Redis.from_url(stack.redis_url(), retry=None) as client:
        try:
            return bool(client.ping())
        except RedisError:
            return False


def asked(url: str, **options: Any) -> int:
    """The status a page answers with; 0 where nobody answers."""
    try:
        return httpx.get(url, timeout=30, **options).status_code
    except httpx.TransportError:
        return 0


def live() -> set[int]:
    processes = open_producer().limiter.status().processes.values()
    return {report["pid"] for report in processes if "pid" in report}


def end(process: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """`docker stop`: SIGTERM, and it has to be gone of itself before it is killed."""
    began = time.monotonic()
    process.terminate()
    assert process.wait(grace_seconds) == 0
    assert time.monotonic() - began < grace_seconds / 2


@pytest.mark.chaos
def test_the_images_build_step_installs_a_command_that_works(tmp_path: Path) -> None:
    source, environment = tmp_path / "src", tmp_path / "opt"
    for path in build_context() - {".env", "replibatch/__pycache__/errors.pyc"}:
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / path, source / path)
    steps = re.findall(r"^RUN (.*/opt/replibatch.*)$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    assert len(steps) == 2
    for step in steps:
        line = step.replace("/opt/replibatch", str(environment)).replace("python -m", f"{sys.executable} -m")
        subprocess.run(["sh", "-c", line], cwd=source, check=True, timeout=900)
    clean = {"PATH": f"{environment / 'bin'}:{os.environ['PATH']}"}
    for command in (
        ["replibatch", "--version"],
        ["replibatch", "worker", "--help"],
        ["replibatch", "flower", "--help"],
    ):
        subprocess.run(command, cwd=tmp_path, env=clean, check=True, timeout=60)
