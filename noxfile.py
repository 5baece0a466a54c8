"""The checks of `.ci/run`, each in an environment of its own: `nox -l` lists them, `nox -s lint` runs one."""

from __future__ import annotations

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
