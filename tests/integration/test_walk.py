"""The command that measures the walk through the code."""

from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace

from tests.walk import Recorder, Walk


def _down() -> str:
    return "".join(sorted(part for part in ("b", "a")))


def _top() -> str:
    return _down() + _down()


def test_named_functions_of_ours_alone_are_recorded() -> None:
    recorder = Recorder(within=(__name__,))
    recorder.on()
    try:
        _top()
        SimpleNamespace(a=1)
    finally:
        recorder.off()
    assert [function for _, function in recorder.last(_top).calls] == ["_top", "_down", "_down"]
    assert [function for _, function in recorder.last(_top, until=_down).calls] == ["_top", "_down"]


def test_changes_are_modules_and_returns() -> None:
    walk = Walk([("a", "f"), ("a", "g"), ("b", "f"), ("a", "h"), ("c", "f"), ("b", "g"), ("b", "h")])
    assert walk.changes == [("a", "f"), ("b", "f"), ("a", "h"), ("c", "f"), ("b", "g")]
    assert (walk.modules, walk.returns) == (3, 2)


def test_the_walk_of_an_attempt_and_of_a_line_is_measured() -> None:
    run = subprocess.run(  # a worker in this process would leave its signals and logs to the tests that follow
        [sys.executable, "-m", "tests.walk", "--trace"], capture_output=True, text=True, timeout=120, check=True
    )
    figures = re.findall(r"^(\w+): (\d+) modules, (\d+) changes of module, (\d+) of them returns$", run.stdout, re.M)
    assert [name for name, *_ in figures] == ["attempt", "line"]
    for _, modules, changes, returns in figures:
        assert int(modules) > 10 and int(changes) == int(modules) + int(returns)
    for function in ("generate", "create", "Enqueuer.append", r"\w+.published"):
        assert re.search(rf"^ +\d+ .* {function}$", run.stdout, re.M), function
