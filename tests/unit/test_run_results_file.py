"""`results.jsonl` has a line for each result, however many runs follow it."""

from __future__ import annotations

import json
from pathlib import Path

from replibatch.cli.run.results_file import ResultsFile
from replibatch.requests import Attempt, BatchResult, State

FILE = Path("results.jsonl")


def result(prediction: str, *, success: bool = True) -> BatchResult:
    attempt = Attempt("a/b", prediction, "succeeded" if success else "failed", None, None, 1.0, 0.1)
    state = State.SUCCEEDED if success else State.FAILED
    return BatchResult("1", "a fox", "a/b", "a/b", success, attempts=(attempt,), state=state)


def keys() -> list[str]:
    return [json.loads(line)["key"] for line in FILE.read_text().splitlines()]


def test_what_another_run_has_written_is_not_written_again() -> None:
    first, second = ResultsFile(FILE), ResultsFile(FILE)
    first.add(result("p1"), 0, b"a")
    second.add(result("p2"), 1, b"b")
    assert second.add(result("p1"), 0, b"a")["prompt"] == "a fox"
    first.add(result("p2"), 1, b"b")
    assert keys() == [b"a".hex(), b"b".hex()]
    first.add(result("p3", success=False), 0, b"a")  # made again: another result
    assert len(keys()) == 3
    first.close()
    second.close()


def test_what_was_written_after_the_file_was_read_is_another_s() -> None:
    FILE.write_text('{"cut short\n')
    read = FILE.stat().st_size
    first = ResultsFile(FILE)
    first.add(result("p1"), 0, b"a")
    first.close()
    late = ResultsFile(FILE, since=read)
    late.add(result("p1"), 0, b"a")
    late.close()
    assert len(FILE.read_text().splitlines()) == 2
