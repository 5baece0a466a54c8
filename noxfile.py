"""The checks of `.ci/run`, each in an environment of its own: `nox -l` lists them, `nox -s lint` runs one."""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
NEWEST = ["celery", "kombu", "flower", "redis", "pydantic", "replicate"]

nox.options.sessions = ["lint", "types", "docs", "tests"]
nox.options.error_on_missing_interpreters = False


def _install(session: nox.Session) -> None:
    session.install("-q", "-c", "constraints.txt", "-e", ".[test,docs]")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The default tests; what stands after `--` goes to pytest."""
    _install(session)
    session.run("pytest", "-q", *(session.posargs or ["-n", "4", "--dist", "worksteal"]))


@nox.session
def chaos(session: nox.Session) -> None:
    """The long runs in which processes are killed."""
    _install(session)
    session.run("pytest", "-q", "-n", "4", "--dist", "worksteal", "-m", "chaos")


@nox.session
def lint(session: nox.Session) -> None:
    """Lint, format, import contracts."""
    _install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Types, strict."""
    _install(session)
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation as a site, into `site/`."""
    _install(session)
    session.run("mkdocs", "build", "--strict", *session.posargs, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def newest(session: nox.Session) -> None:
    """The default tests with the newest releases of what replibatch stands on, past its bounds too."""
    session.install("-q", "-e", ".[test,docs]")
    session.install("-q", "--upgrade", *NEWEST)
    session.run("pytest", "-q", "-n", "4", "--dist", "worksteal")


@nox.session(python=PYTHONS)
def servers(session: nox.Session) -> None:
    """The tests that stand on a Redis, against every server found; folders with more of them stand after `--`."""
    _install(session)
    session.run("python", "-m", "tests.servers", *session.posargs, "--", "-n", "2", "--dist", "worksteal")


@nox.session
def package(session: nox.Session) -> None:
    """Wheel and sdist, built and checked, into `dist/`; the wheel's demo, its licences and its bill of materials."""
    session.install("-q", "build", "twine", "cyclonedx-bom")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", "dist")
    session.run("twine", "check", "--strict", *map(str, Path("dist").iterdir()))
    here, fresh = Path.cwd(), Path(session.create_tmp()).resolve() / "fresh"
    session.run("python", "-m", "venv", "--clear", str(fresh))
    python = str(fresh / "bin" / "python")
    (wheel,) = (here / "dist").glob("*.whl")
    session.run(python, "-m", "pip", "install", "-q", "-c", "constraints.txt", str(wheel), external=True)
    session.run(python, "-P", "-m", "replibatch", "demo", "-o", str(fresh / "demo"), external=True)
    session.run(python, "-m", "tests.licences", external=True)
    session.run("cyclonedx-py", "environment", python, "--output-file", "dist/sbom.cdx.json")
