"""Replicate cannot be reached, in ten ways: each command names the cause at once, in the same words."""

from __future__ import annotations

import json
import logging
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import replibatch as package
from replibatch.sandbox import Sandbox
from tests.support.commands import COMMAND, MODEL, replibatch, write_prompts
from tests.support.odd_server import OddServer, answer
from tests.support.waiting import until
from tests.support.way import Way

# A server stopped in the midst of an answer leaves a socket to the garbage collector, in whichever test runs then.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")

SOON_SECONDS = 30.0  # 5 are promised; a busy machine starts processes slowly
PAGE = "<html><head><title>Guest Wi-Fi</title></head><body>Accept</body></html>"
Open = Callable[[ExitStack, Sandbox, Path, pytest.MonkeyPatch], str]


def nothing_listens(stack: ExitStack, sandbox: Sandbox, folder: Path, patch: pytest.MonkeyPatch) -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def no_host(stack: ExitStack, sandbox: Sandbox, folder: Path, patch: pytest.MonkeyPatch) -> str:
    return "https://api.replicate.invalid"


def silent(stack: ExitStack, sandbox: Sandbox, folder: Path, patch: pytest.MonkeyPatch) -> str:
    way = stack.enter_context(Way(urlsplit(sandbox.url).port or 0))
    way.swallow()
    return way.url


def with_v1(stack: ExitStack, sandbox: Sandbox, folder: Path, patch: pytest.MonkeyPatch) -> str:
    return f"{sandbox.url}/v1"


def portal(stack: ExitStack, sandbox: Sandbox, folder: Path, patch: pytest.MonkeyPatch) -> str:
    return stack.enter_context(OddServer(answer(200, PAGE))).url


def moved(stack: ExitStack, sandbox: Sandbox, folder: Path, patch: pytest.MonkeyPatch) -> str:
    return stack.enter_context(OddServer(answer(301, PAGE, Location="https://portal.example/"))).url


def forbidden(stack: ExitStack, sandbox: Sandbox, folder: Path, patch: pytest.MonkeyPatch) -> str:
    return stack.enter_context(OddServer(answer(403, PAGE.replace("Guest Wi-Fi", "Attention Required!")))).url


def plain(stack: ExitStack, sandbox: Sandbox, folder: Path, patch: pytest.MonkeyPatch) -> str:
    return sandbox.url.replace("http://", "https://")


def untrusted(stack: ExitStack, sandbox: Sandbox, folder: Path, patch: pytest.MonkeyPatch) -> str:
    key, certificate = folder / "key.pem", folder / "cert.pem"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    context.wrap_socket(connection, server_side=True).close()

    threading.Thread(target=serve, daemon=True).start()
    return f"https://127.0.0.1:{listener.getsockname()[1]}"


def proxied(stack: ExitStack, sandbox: Sandbox, folder: Path, patch: pytest.MonkeyPatch) -> str:
    proxy = stack.enter_context(OddServer(answer(407, PAGE)))
    patch.setenv("HTTP_PROXY", proxy.url)
    patch.setenv("NO_PROXY", "")
    return sandbox.url


WAYS: dict[str, tuple[Open, str, bool]] = {  # how, the cause's words, whether it cannot pass by itself
    "nothing listens": (nothing_listens, r"connection refused", False),
    "no such host": (no_host, r"there is no host api\.replicate\.invalid", False),
    "no answer": (silent, r"no answer from", False),
    "/v1 in the address": (with_v1, r"without /v1", True),
    "a portal": (portal, r"not Replicate's.*Guest Wi-Fi", False),
    "moved": (moved, r"redirect to https://portal\.example/", False),
    "blocked": (forbidden, r"not Replicate's.*Attention Required!", False),
    "no TLS": (plain, r"does not speak TLS", True),
    "a certificate that is not trusted": (untrusted, r"certificate .* is not trusted", True),
    "a proxy with a password": (proxied, r"the proxy asks for a user", False),
}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


SAMPLED = ("nothing listens", "a portal", "no TLS")  # the others are as quick, and each starts a Redis and a worker


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in SAMPLED else pytest.mark.chaos) for n in WAYS])
def test_run_and_doctor_name_the_cause(
    name: str, stack: ExitStack, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how, words, is_lasting = WAYS[name]
    monkeypatch.setenv("REPLICATE_BASE_URL", how(stack, sandbox, tmp_path, monkeypatch))
    write_prompts(1)
    log = tmp_path / "run.log"
    with log.open("wb") as said:
        command = [*COMMAND, "run", "prompts.txt", "-m", MODEL, "-o", "out"]
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
    try:
        until(lambda: re.search(words, " ".join(log.read_text().split())), SOON_SECONDS, "the cause is named")
        if is_lasting:
            assert run.wait(SOON_SECONDS) == 2
        else:
            status = json.loads(replibatch("status", "--json").stdout)
            assert any(re.search(words, outage["message"]) for outage in status["outages"])
    finally:
        run.terminate()
        run.wait(30)
    doctor = " ".join(replibatch("doctor").stdout.split())
    assert re.search(words, doctor), doctor
    assert not sandbox.books.create_times


def test_a_python_call_names_the_cause_and_goes_on(
    stack: ExitStack, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    way = stack.enter_context(Way(urlsplit(sandbox.url).port or 0))
    monkeypatch.setenv("REPLICATE_BASE_URL", way.url)
    way.refuse()
    caplog.set_level(logging.WARNING, "replibatch")
    made: list[str] = []
    call = threading.Thread(target=lambda: made.extend(package.replicate_model_calling("a fox", MODEL, "fox.webp")))
    call.start()
    until(lambda: "connection refused" in caplog.text, SOON_SECONDS)
    way.pass_on()
    call.join(60)
    assert [Path(path).name for path in made] == ["fox.webp"]


def test_a_python_call_raises_where_it_cannot_pass_by_itself(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_BASE_URL", f"{sandbox.url}/v1")
    began = time.monotonic()
    with pytest.raises(package.ReplibatchError, match="without /v1"):
        package.replicate_model_calling("a fox", MODEL, "fox.webp")
    assert time.monotonic() - began < SOON_SECONDS
