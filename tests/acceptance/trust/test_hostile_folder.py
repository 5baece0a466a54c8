"""A working directory is data: nothing in it is executed, whatever it is called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from replibatch.sandbox import Sandbox
from tests.support.flower_server import FlowerServer

MODULES = (
    *(
        "brotli",
        "zstandard",
        "httpx",
        "tomllib",
        "dotenv",
        "redis",
        "celery",
        "celeryconfig",
        "flowerconfig",
        "workers",
    ),
    *("replibatch", "replicate", "PIL", "socks", "h2", "orjson", "lupa", "sitecustomize", "usercustomize", "rich"),
    *("simplejson", "uvloop", "gevent", "eventlet", "django", "pycurl", "openpyxl", "pyarrow", "obstore", "json"),
)


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A folder with a list, and a module for each name that something may look for."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name in MODULES:
        (folder / f"{name}.py").write_text(f"open('executed', 'a').write({name!r} + ' ')\n")
    (folder / "prompts.txt").write_text("A fox\n")
    monkeypatch.chdir(folder)
    request.getfixturevalue("quick_models")
    return folder


def test_a_run_imports_nothing_from_it(hostile: Path) -> None:
    command = [sys.executable, "-P", "-m", "replibatch", "run", "prompts.txt", "-m", "qwen/qwen-image"]
    done = subprocess.run(
        [*command, "--sandbox", "-o", "out"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not (hostile / "executed").exists(), (hostile / "executed").read_text()


def test_flower_executes_nothing_from_it(hostile: Path, fleet: str, sandbox: Sandbox, tmp_path: Path) -> None:
    server = FlowerServer(tmp_path, {})
    try:
        assert server.client.get("/replibatch").status_code == 200
    finally:
        server.close()
    assert not (hostile / "executed").exists(), (hostile / "executed").read_text()
