"""Every command and every piece of code in the README and in `docs/` runs.

A document is one story: its blocks run in order, in one folder, against a fleet of one worker and the stand-in. A
comment just before a block says what is special about it:

    <!-- file: NAME -->         its text is a file that later blocks use
    <!-- until: PATTERN -->     it does not end by itself; it is left running once it has printed PATTERN
    <!-- elsewhere: PATH -->    the test at PATH, or `.ci/run`, runs it
    <!-- syntax: WHY -->        it cannot run here; it is only parsed
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from replibatch.sandbox import Sandbox
from tests.support import PROJECT
from tests.support.waiting import until

BLOCK = re.compile(
    r"^(?:<!-- (?P<rule>file|until|elsewhere|syntax): (?P<detail>.*?) -->\n)?"
    r"```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
DOCUMENTS = sorted(["README.md", *(str(path.relative_to(PROJECT)) for path in (PROJECT / "docs").glob("*.md"))])
BLOCK_SECONDS = 120


@dataclass
class Block:
    """A fenced block: what it is, and where."""

    language: str
    text: str
    rule: str | None
    detail: str
    where: str


def blocks(document: str) -> list[Block]:
    text = (PROJECT / document).read_text("utf-8")
    return [
        Block(
            found["language"],
            found["text"],
            found["rule"],
            found["detail"] or "",
            f"{document}:{text[: found.start('text')].count(chr(10)) + 1}",
        )
        for found in BLOCK.finditer(text)
    ]


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Commands that go on until the document ends."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.terminate()
    for process in started:
        process.wait(20)


def command_of(block: Block) -> list[str]:
    if block.language == "sh":
        return ["bash", "-euo", "pipefail", "-c", block.text]
    Path("block.py").write_text(block.text, "utf-8")
    return [sys.executable, "block.py"]


def parse(block: Block) -> None:
    """Data is at least well formed; so is code that cannot run here."""
    if block.language == "sh":
        subprocess.run(["bash", "-n", "-c", block.text], check=True)
    elif block.language == "python":
        compile(block.text, block.where, "exec")
    elif block.language == "toml":
        tomllib.loads(block.text)
    elif block.language == "json":
        json.loads(block.text)
    elif block.language == "yaml":
        list(yaml.safe_load_all(block.text))
    else:
        assert block.language in ("text", "ini", "csv", "jsonl", "go"), f"{block.where}: what is {block.language!r}?"


def run(block: Block, running: list[subprocess.Popen[bytes]]) -> None:
    if block.rule == "until":
        said = Path(f"said-{len(running)}.log")
        with said.open("wb") as log:
            process = subprocess.Popen(command_of(block), stdout=log, stderr=log)
        running.append(process)
        until(lambda: re.search(block.detail, said.read_text()) or process.poll() is not None, what=block.where)
        assert process.poll() is None, said.read_text()
        return
    ended = subprocess.run(command_of(block), capture_output=True, text=True, timeout=BLOCK_SECONDS, check=False)
    assert ended.returncode == 0, f"{block.where}: exit {ended.returncode}\n{ended.stdout}{ended.stderr}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_of_a_document_runs(
    document: str,
    sandbox: Sandbox,
    fleet: str,
    start_worker: Callable[..., object],
    running: list[subprocess.Popen[bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = blocks(document)
    placeholders = {
        "redis://:password@redis.internal:6379/0": fleet,
        "/mnt/shared/outputs": str(tmp_path / "files"),
        "r8_…": "r8_of_the_tests",
    }
    if any(block.language in ("sh", "python") and block.rule in (None, "until") for block in found):
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "files"))
        monkeypatch.setenv("FLOWER_PORT", "0")  # any that is free
        start_worker("--concurrency", "20")
        Path("prompts.txt").write_text("A quiet harbour\nA fox in the snow\n")
    for block in found:
        for name, value in placeholders.items():
            block.text = block.text.replace(name, value)
        if block.rule == "file":
            parse(block)
            Path(block.detail).write_text(block.text, "utf-8")
        elif block.rule == "elsewhere":
            assert (PROJECT / block.detail.partition("::")[0]).exists(), f"{block.where}: no {block.detail}"
        elif block.rule == "syntax" or block.language not in ("sh", "python"):
            parse(block)
        else:
            run(block, running)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_block_of_a_document_escapes(document: str) -> None:
    fences = re.findall(r"^\s*```", (PROJECT / document).read_text("utf-8"), re.MULTILINE)
    assert len(fences) == 2 * len(blocks(document)), "a block this test does not see"
