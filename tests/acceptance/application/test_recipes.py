"""Each recipe as two users call it at the same time: each of them gets the picture of their own prompt."""

from __future__ import annotations

import ast
import asyncio
import hashlib
import inspect
import json
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from replibatch import Job
from replibatch.broker.app import celery_url
from replibatch.sandbox import Sandbox
from tests.support import PROJECT
from tests.support.waiting import until

EXAMPLES = PROJECT / "examples"
REQUESTS = int(os.environ.get("RECIPE_REQUESTS", "24"))  # of both users together, through each recipe


@pytest.fixture(autouse=True)
def fleet_with_a_worker(
    fleet: str,
    sandbox: Sandbox,
    start_worker: Callable[..., subprocess.Popen[bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sandbox.settings.latency_seconds = 0.05
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "storage"))
    start_worker()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Starts a web server of an example; returns its address. `{port}` stands for its port."""
    servers: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        log = tmp_path / "server.log"
        with log.open("wb") as said:
            filled = [sys.executable, *(part.format(port=port) for part in command)]
            servers.append(subprocess.Popen(filled, stdout=said, stderr=said))

        def answers() -> bool:
            assert servers[-1].poll() is None, log.read_text()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        until(answers, what="the server listens")
        return f"http://127.0.0.1:{port}"

    yield start
    for server in servers:
        server.terminate()
        server.wait(20)


def stream_as_two_users(address: str) -> None:
    """Both at once; every answer is the file of the job with that prompt, and no two are the same."""
    with httpx.Client(timeout=120, limits=httpx.Limits(max_connections=20)) as client:

        def ask(number: int) -> tuple[str, httpx.Response]:
            prompt = f"user {number % 2}, picture {number}"
            return prompt, client.get(address, params={"prompt": prompt})

        with ThreadPoolExecutor(12) as users:
            answers = list(users.map(ask, range(REQUESTS)))
    hashes = set()
    for prompt, answer in answers:
        assert answer.status_code == 200, answer.text
        result = Job.get(answer.headers["x-job"]).result(bring_files=False)
        assert result.prompt == prompt and result.files[0].sha256 == hashlib.sha256(answer.content).hexdigest()
        hashes.add(result.files[0].sha256)
    assert len(hashes) == REQUESTS


def test_flask(serve: Callable[..., str]) -> None:
    app = str(EXAMPLES / "web_app.py")
    stream_as_two_users(serve("-m", "flask", "--app", app, "run", "--port", "{port}") + "/stream")


def test_fastapi(serve: Callable[..., str]) -> None:
    command = (
        "-m",
        "uvicorn",
        "--app-dir",
        str(EXAMPLES),
        "fastapi_app:app",
        "--port",
        "{port}",
        "--log-level",
        "error",
    )
    address = serve(*command)
    stream_as_two_users(f"{address}/stream")
    assert httpx.get(f"{address}/images/none").status_code == 404
    assert httpx.post(f"{address}/images", json={"prompt": " "}).status_code == 400
    job = httpx.post(f"{address}/images", json={"prompt": "a fox"}).json()["job"]
    until(lambda: httpx.get(f"{address}/images/{job}").json()["state"] == "succeeded", what="it is made")


@pytest.mark.parametrize("view", ["stream", "astream"])
def test_django(serve: Callable[..., str], view: str) -> None:
    file = str(EXAMPLES / "django_app.py")
    stream_as_two_users(serve(file, "runserver", "--noreload", "127.0.0.1:{port}") + f"/{view}")


def test_a_celery_application_of_ones_own(fleet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", celery_url(fleet))  # Celery spells a socket in another way
    log = tmp_path / "application.log"
    with log.open("wb") as said:
        app = ["celery", "--workdir", str(EXAMPLES), "-A", "celery_app"]
        command = [*app, "worker", "--pool", "solo", "--loglevel", "warning"]
        worker = subprocess.Popen([sys.executable, "-m", *command], stdout=said, stderr=said)
    try:
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); from celery_app import ask; from threading import Thread\n"
        )
        code += "said = []\ndef of(user):\n"
        code += " for n in range(int(sys.argv[2])): said.append((ask(f'{user} {n}', user), user, n))\n"
        code += "users = [Thread(target=of, args=(user,)) for user in ('ada', 'bo')]\n"
        code += "[each.start() for each in users]; [each.join() for each in users]\n"
        code += "for each in said: print(*each)"
        half = REQUESTS // 2
        asked = subprocess.run(
            [sys.executable, "-c", code, str(EXAMPLES), str(half)], capture_output=True, text=True, check=True
        )
        jobs = [line.split() for line in asked.stdout.splitlines()]
        assert len(jobs) == 2 * half
        until(lambda: log.read_text().count("call ") >= 2 * half, what="the tasks are called")
        said = log.read_text().splitlines()
        for job_id, user, number in jobs:
            (line,) = [each for each in said if f"(job {job_id}," in each]
            assert f"for {user}: '{user} {number}' is " in line and f"call {job_id}-link" in line
    finally:
        worker.terminate()
        worker.wait(20)


def test_cron(tmp_path: Path) -> None:
    def run(folder: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(EXAMPLES / "cron_job.py"), folder]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    runs = [run(folder) for folder in ("ada", "bo", "ada")]  # the third is the same job as the first
    for each in runs:
        out, err = each.communicate(timeout=120)
        assert each.returncode == 0, err
        assert "nothing was asked for" in out
    assert [len(list((tmp_path / user).glob("*.webp"))) for user in ("ada", "bo")] == [1, 1]


def test_the_notebook(sandbox: Sandbox) -> None:
    cells = json.loads((EXAMPLES / "notebook.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]

    async def one_user(prompt: str) -> dict[str, Any]:
        names: dict[str, Any] = {}
        for source in code:  # as a kernel runs a cell that awaits
            cell = compile(source.replace("A quiet harbour", prompt), "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            made = eval(cell, names)
            if inspect.isawaitable(made):
                await made
        return names

    async def both() -> list[dict[str, Any]]:
        return await asyncio.gather(one_user("A mill"), one_user("A bridge"))

    mill, bridge = asyncio.run(both())
    assert mill["result"].prompt == "A mill" and bridge["result"].prompt == "A bridge"
    assert mill["result"].files[0].read() != bridge["result"].files[0].read()
    assert [each.prompt for each in bridge["results"]] == ["A bridge, at dawn", "A bridge, at night"]


def test_one_name_for_all_is_found_out(tmp_path: Path) -> None:
    """What the recipes once did: a result whose file another has replaced says so, and hands on none of its bytes."""
    code = textwrap.dedent("""
        from replibatch import BatchRequest, StorageError, enqueue
        jobs = [enqueue(BatchRequest(f"user {n}", "qwen/qwen-image", "image.webp")) for n in range(2)]
        results = [job.result(timeout=60, bring_files=False) for job in jobs]
        said = []
        for result in results:
            try:
                said.append(len(b"".join(result.files[0])) == result.files[0].size_bytes)
            except StorageError as error:
                said.append("another was written over it" in str(error))
        print(said)
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[True, True]"
