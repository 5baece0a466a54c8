"""The wheel: one import name, and no harm from another distribution that has a package `workers`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from replibatch.sandbox import Sandbox
from tests.support import PROJECT
from tests.support.waiting import until


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=PROJECT, check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture
def installed(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel's files, on the import path in front of the checkout, beside a foreign package `workers`."""
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (site / "workers").mkdir()
    (site / "workers" / "__init__.py").write_text("raise SystemExit('the foreign package')")
    monkeypatch.setenv("PYTHONPATH", str(site))
    return site


def test_it_installs_one_import_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name.partition("/")[0] for name in archive.namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"replibatch"}


def test_a_list_is_made_beside_a_foreign_package_workers(installed: Path, quick_models: None) -> None:
    Path("list.txt").write_text("A fox\nA boat\n")
    command = [sys.executable, "-P", "-m", "replibatch", "run", "list.txt", "-m", "qwen/qwen-image"]
    done = subprocess.run(
        [*command, "--sandbox", "-o", "out"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(list(Path("out").glob("*.webp"))) == 2
    where = subprocess.run(
        [sys.executable, "-P", "-c", "import replibatch; print(replibatch.__file__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(installed)


@pytest.mark.parametrize("app", ["replibatch.worker", "workers"])
def test_celery_finds_the_app(
    app: str, fleet: str, sandbox: Sandbox, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """As installed beside a foreign `workers`; under the name of the fleet's entry point in a checkout."""
    if app == "replibatch.worker":
        request.getfixturevalue("installed")
    log = tmp_path / "log"
    command = [sys.executable, "-P", "-m", "celery", "-A", app, "worker", "--concurrency", "3"]
    folder = tmp_path if app == "replibatch.worker" else PROJECT
    with log.open("w") as said:
        worker = subprocess.Popen(command, stdout=said, stderr=said, cwd=folder, env=dict(os.environ))
    try:
        until(lambda: worker.poll() is not None or "concurrency: 3" in log.read_text(), what="it is ready")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
        assert "Traceback" not in log.read_text()
    finally:
        worker.kill()
