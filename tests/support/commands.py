"""The command line as its users meet it: whole processes, and the files they leave."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import forks
from tests.support.catalogue import FLUX, IMAGEN, KLING, KONTEXT, NANO, QWEN, ULTRA, VEO

MODEL = "qwen/qwen-image"
COMMAND = [sys.executable, "-P", "-m", "replibatch"]
Start = Callable[..., forks.Started]


@pytest.fixture
def quick_models() -> None:
    """The stand-in is quicker than the models, and is polled accordingly; a test may write a catalogue of its own."""
    Path("replibatch.toml").write_text(
        "".join(
            f'["{name}"]\ntypical_seconds = 0.4\n' for name in (FLUX, KONTEXT, ULTRA, QWEN, IMAGEN, NANO, VEO, KLING)
        )
    )


def replibatch(*arguments: str, timeout_seconds: float = 120.0, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in a process of its own; options as of `forks.run`."""
    return forks.run(arguments, timeout_seconds=timeout_seconds, **options)


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a command in a process group of its own; kills what is left of it afterwards."""
    started: list[forks.Started] = []

    def begin(*arguments: str) -> forks.Started:
        started.append(forks.Started(arguments))
        return started[-1]

    yield begin
    for process in started:
        process.close()


def write_prompts(count: int, name: str = "prompts.txt", prompt: str = "a red fox") -> Path:
    """A list of that many prompts."""
    path = Path(name)
    path.write_text("".join(f"{prompt}, number {number}\n" for number in range(count)))
    return path


def write_lines(lines: list[dict[str, Any]], name: str = "list.jsonl") -> Path:
    """A list with a line for each dict."""
    path = Path(name)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def images(folder: str = "out") -> list[Path]:
    """The pictures in a folder and those in it."""
    return sorted(path for path in Path(folder).rglob("*") if path.suffix in {".webp", ".png", ".jpg"})


def results(folder: str = "out") -> list[dict[str, Any]]:
    """The lines of its `results.jsonl`."""
    return [json.loads(line) for line in Path(folder, "results.jsonl").read_text().splitlines()]
