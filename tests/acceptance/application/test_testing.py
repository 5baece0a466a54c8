"""The pytest plugin, as an application's own tests use it: `examples/postcards`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.support import PROJECT

POSTCARDS = PROJECT / "examples" / "postcards"


def run(python: Path | str, *options: str, folder: Path = POSTCARDS) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST_"))}
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_fake_in_an_applications_tests(tmp_path: Path) -> None:
    """Without a server: each test costs milliseconds, once the first has loaded it all."""
    said = run(sys.executable, "-k", "not whole_queue", "--durations=0", "-vv", "--basetemp", str(tmp_path / "t"))
    assert "11 passed" in said
    seconds = sorted(float(each) for each in re.findall(r"^([\d.]+)s call", said, re.MULTILINE))
    assert seconds[len(seconds) // 2] < 0.5, said


def test_under_xdist(tmp_path: Path) -> None:
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
    shown = subprocess.run(
        [python, "-c", "import replibatch; print(replibatch.__file__)"], check=True, capture_output=True, text=True
    )
    assert Path(shown.stdout.strip()).is_relative_to(site)
    assert "15 passed" in run(python, folder=application)
