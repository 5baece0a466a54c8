"""The pytest plugin, as an application's own tests use it: `examples/postcards`."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.support import PROJECT

POSTCARDS = PROJECT / "examples" / "postcards"


def _own() -> dict[str, str]:
    """This environment, without what would lead to this checkout, or to these tests' own settings."""
    ours = ("PYTHON", "PYTEST_", "REPLIBATCH_", "REPLICATE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def run(python: Path | str, *options: str, folder: Path = POSTCARDS) -> str:
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=folder, env=_own(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_fake_in_an_applications_tests(tmp_path: Path) -> None:
    """Without a server, and in several processes."""
    assert "11 passed" in run(sys.executable, "-k", "not whole_queue", "-n", "2", "--basetemp", str(tmp_path / "t"))


@pytest.mark.chaos
@pytest.mark.chaos_sample
def test_all_of_them_in_an_environment_of_their_own_from_the_wheel(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path / "wheel")]
    subprocess.run(build, cwd=PROJECT, check=True, capture_output=True)
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)], check=True)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", where], check=True, capture_output=True, text=True).stdout.strip())
    # What it requires is taken from here, as it was installed for these tests; this checkout is not on its path.
    (site / "requirements.pth").write_text(sysconfig.get_path("purelib"))
    application = tmp_path / "postcards"
    subprocess.run(["cp", "-r", str(POSTCARDS), str(application)], check=True)
    code = "import replibatch; print(replibatch.__file__)"
    shown = subprocess.run([python, "-P", "-c", code], check=True, capture_output=True, text=True, env=_own())
    assert Path(shown.stdout.strip()).is_relative_to(site)
    assert "15 passed" in run(python, folder=application)
