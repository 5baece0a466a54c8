"""What a stand-in made is play; what costs much is asked about on a terminal, and nowhere else."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path

from replibatch.sandbox import Sandbox
from tests.support.commands import COMMAND, MODEL, images, replibatch, results, write_prompts


def test_what_was_made_with_the_sandbox_never_counts_as_made(
    sandbox: Sandbox, start_worker: Callable[..., object], quick_models: None
) -> None:
    start_worker()
    write_prompts(2)
    arguments = ("run", "prompts.txt", "-m", MODEL, "-o", "out")
    assert replibatch(*arguments, "--sandbox").returncode == 0
    assert [line["play"] for line in results()] == [True, True]
    assert not sandbox.books.create_times
    played = [path.read_bytes() for path in images()]
    assert "2 items to make" in replibatch(*arguments, "--dry-run").stdout
    done = replibatch(*arguments)
    assert done.returncode == 0 and "2 of 2 items made" in done.stdout, done.stderr
    assert len(sandbox.books.create_times) == 2 and len(images()) == 2
    assert [path.read_bytes() for path in images()] != played

    paid = [path.read_bytes() for path in images()]
    assert "2 made before" in replibatch(*arguments, "--sandbox").stdout
    refused = replibatch(*arguments, "--sandbox", "--fresh")
    assert refused.returncode == 2 and "already, and this item has not made it" in refused.stderr
    assert [path.read_bytes() for path in images()] == paid
    assert "2 made before" in replibatch(*arguments).stdout


def on_a_terminal(*arguments: str, answer: str) -> tuple[int, str]:
    """Run a command whose input and stderr are a terminal; its exit code and what it said there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*COMMAND, *arguments], stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    os.write(ours, answer.encode())
    said = b""
    try:
        while chunk := os.read(ours, 4096):
            said += chunk
    except OSError:  # how a terminal ends
        pass
    os.close(ours)
    return process.wait(60), said.decode()


def test_a_list_above_the_limit_is_asked_about_on_a_terminal_alone(
    sandbox: Sandbox, start_worker: Callable[..., object], quick_models: None
) -> None:
    start_worker()
    write_prompts(2)
    os.environ["REPLIBATCH_CONFIRM_USD"] = "0.04"
    try:
        arguments = ("run", "prompts.txt", "-m", MODEL, "-o", "out")
        code, said = on_a_terminal(*arguments, answer="n\n")
        assert code == 2 and "This costs about $0.05. Start?" in said and "--yes answers" in said
        assert not sandbox.books.create_times and not Path("out").exists()
        code, said = on_a_terminal(*arguments, answer="y\n")
        assert code == 0 and len(sandbox.books.create_times) == 2
        code, said = on_a_terminal(*arguments, "--fresh", "--yes", answer="")
        assert code == 0 and "Start?" not in said and len(sandbox.books.create_times) == 4
    finally:
        del os.environ["REPLIBATCH_CONFIRM_USD"]
    piped = replibatch(*arguments, "--fresh", env={**os.environ, "REPLIBATCH_CONFIRM_USD": "0.04"})
    assert piped.returncode == 0 and json.loads(Path("out/results.jsonl").read_text().splitlines()[-1])["success"]
