"""Text of others reaches a terminal and a log with its control characters written out, and forges no line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.commands import MODEL, replibatch

pytestmark = pytest.mark.usefixtures("quick_models")
ACTS = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"


def acts(text: str) -> bool:
    return any(
        (ord(each) < 32 and each not in "\n\t") or 0x7F <= ord(each) < 0xA0 or each == "\u202e" for each in text
    )


@pytest.mark.parametrize("as_json", [False, True])
def test_prompts_of_a_run(as_json: bool) -> None:
    lines = [{"prompt": f"{ACTS} [fail] a fox"}, {"prompt": f"a\nreplibatch: done {ACTS}"}]
    Path("list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    options = ["-m", MODEL, "-o", "out", "--sandbox", *(["--json"] if as_json else [])]
    done = replibatch("run", "list.jsonl", *options)
    assert done.returncode in (0, 1), done.stderr
    assert not acts(done.stdout + done.stderr)
    if as_json:
        prompts = {json.loads(line).get("prompt") for line in done.stdout.splitlines()}
        assert {line["prompt"] for line in lines} <= prompts, "JSON stays what it was"


@pytest.mark.parametrize(
    "line",
    [{"prompt": "a", "model": f"a/{ACTS}"}, {"prompt": "a", "output": f"{ACTS}.png"}],
    ids=["model", "output"],
)
def test_mistakes_of_a_list(line: dict[str, str]) -> None:
    Path("list.jsonl").write_text(json.dumps(line) + "\n")
    done = replibatch("run", "list.jsonl", "-m", MODEL, "-o", "out", "--sandbox", "--dry-run")
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stderr and not acts(done.stdout + done.stderr)


ODD = (
    *(
        b"[" * 5000,
        b'{"key": [], "success": 1, "file_paths": 5}',
        b"\xff\xfe\x00",
        b"null",
        b'{"index": ' + b"9" * 5000,
    ),
    b'{"key": "00", "success": true, "file_paths": [null]}',
    b'{"key": "zz", "success": true, "file_paths": ["a\\u0000"]}',
)


def test_an_odd_results_file_is_no_traceback() -> None:
    Path("out").mkdir()
    Path("out/results.jsonl").write_bytes(b"\n".join(ODD) + b"\n")
    Path("list.txt").write_text("a fox\n")
    done = replibatch("run", "list.txt", "-m", MODEL, "-o", "out", "--sandbox")
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 0
