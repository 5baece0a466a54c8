"""The web application in `examples/`, served by a process of its own and used over HTTP."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from io import BytesIO

import httpx
import pytest
from PIL import Image

from replibatch.sandbox import Sandbox
from tests.support import PROJECT
from tests.support.waiting import until


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def web(sandbox: Sandbox, script: Callable[..., subprocess.Popen[str]]) -> Iterator[httpx.Client]:
    """A client of the application. It is in embedded mode: it brings its Redis and its worker along."""
    port = free_port()
    server = script("-m", "flask", "--app", str(PROJECT / "examples" / "web_app.py"), "run", "--port", str(port))
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:

        def answers() -> bool:
            assert server.poll() is None, server.communicate()[1]
            try:
                return client.get("/images/none").status_code == 404
            except httpx.TransportError:
                return False

        until(answers)
        yield client
    server.terminate()
    server.communicate(timeout=30)


def finished(web: httpx.Client, address: str) -> httpx.Response:
    answers: list[httpx.Response] = []

    def is_there() -> bool:
        time.sleep(0.2)  # the server writes a line for each request, and nobody reads them meanwhile
        answers.append(web.get(address))
        return answers[-1].status_code != 202

    until(is_there)
    return answers[-1]


def test_it_makes_images_and_streams_them(web: httpx.Client, sandbox: Sandbox) -> None:
    asked = web.post("/images", data={"prompt": "A quiet harbour"})
    assert asked.status_code == 202
    answer = finished(web, asked.headers["Location"])
    assert answer.status_code == 200
    assert len(answer.content) == int(answer.headers["Content-Length"])
    with Image.open(BytesIO(answer.content)) as image:
        image.verify()
        assert answer.headers["Content-Type"] == f"image/{image.format}".lower()
    assert web.get(asked.headers["Location"]).content == answer.content, "and again, without being made again"
    streamed = web.get("/stream", params={"prompt": "A fox"})
    with Image.open(BytesIO(streamed.content)) as image:
        image.verify()
    assert len(sandbox.books.create_times) == 2


def test_what_goes_wrong_has_a_status_and_a_line(web: httpx.Client) -> None:
    refused = web.post("/images", data={"prompt": "a fox", "model": "x/y"})
    assert refused.status_code == 400 and "'x/y' is not supported" in refused.json()["error"]
    failed = finished(web, web.post("/images", data={"prompt": "no [[failed]]"}).headers["Location"])
    assert failed.status_code == 502 and "qwen/qwen-image" in failed.json()["error"]
    assert web.get("/images/nobody-s").status_code == 404
