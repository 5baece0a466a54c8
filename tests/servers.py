"""The tests that stand on a Redis, against every server of this machine, one after the other.

    python -m tests.servers [FOLDER…] [-- ARGUMENTS FOR PYTEST…]

Servers are looked for on PATH, in the wheels that carry one, and under each FOLDER: files named `redis-server` or
`valkey-server`. For each, pytest runs in a process of its own with that server as the first on PATH, on the tests of
`tests/integration` that take a Redis of the suite or use embedded mode. Prints a table, in Markdown; the exit code is
1 where a test failed on any server.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from replibatch.embedded.server import SERVER_NAMES, binaries
from tests.support import PROJECT

FIXTURES = {"redis_url", "redis_server", "durable_redis"}
EMBEDDED = "tests/integration/embedded/"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, in the runs that this module starts, what needs no Redis."""
    kept = [item for item in items if item.nodeid.startswith(EMBEDDED) or FIXTURES & set(item.fixturenames)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


@dataclass(frozen=True)
class Run:
    """What the tests said of one server."""

    name: str
    passed: int
    failed: int
    skipped: int
    seconds: float


def found(folders: list[Path]) -> dict[str, Path]:
    """The servers of this machine, one of each version, by their names."""
    on_path = (Path(folder, name) for folder in os.get_exec_path() for name in SERVER_NAMES)
    named = (path for folder in folders for name in SERVER_NAMES for path in sorted(folder.rglob(name)))
    servers: dict[str, Path] = {}
    for binary in (*on_path, *binaries(), *named):
        if binary.is_file():
            servers.setdefault(name_of(binary), binary.resolve())
    return servers


def name_of(binary: Path) -> str:
    """As in `Valkey 9.1.2`."""
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.match(r"(\w+) server v=([\d.]+)", said)
    assert match, f"{binary} says {said!r}"
    return f"{match[1]} {match[2]}"


def run(name: str, binary: Path, arguments: list[str]) -> Run:
    """The tests on one server; what fails is shown by pytest itself."""
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder, SERVER_NAMES[0])
        first.symlink_to(binary)  # the first name that is looked for, in the first place
        report = Path(folder, "report.xml")
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        began = time.monotonic()
        subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-p", "tests.servers", f"--junitxml={report}"),
                *("tests/integration", *arguments),
            ],
            cwd=PROJECT,
            env={**os.environ, "PATH": path},
            check=False,
        )
        seconds = time.monotonic() - began
        (suite,) = ElementTree.parse(report).getroot().iter("testsuite")
    count = {what: int(suite.get(what, 0)) for what in ("tests", "failures", "errors", "skipped")}
    failed = count["failures"] + count["errors"]
    return Run(name, count["tests"] - failed - count["skipped"], failed, count["skipped"], seconds)


def main(arguments: list[str]) -> int:
    """Run them all; the exit code."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    runs = []
    for name, binary in found([Path(folder) for folder in arguments[:split]]).items():
        print(f"== {name}: {binary}", flush=True)
        runs.append(run(name, binary, arguments[split + 1 :]))
    print("\n| server | passed | failed | skipped | seconds |\n|---|---|---|---|---|")
    for done in runs:
        print(f"| {done.name} | {done.passed} | {done.failed} | {done.skipped} | {done.seconds:.0f} |")
    return 1 if not runs or any(done.failed or not done.passed for done in runs) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
