"""What the documents say one has to run is what `.ci/run` runs; the version stands in one place."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version

import yaml

import replibatch
from tests.support import PROJECT

CI = (PROJECT / ".ci" / "run").read_text(encoding="utf-8")
TEST_COMMAND = re.compile(r"^# The README's test command.*\n((?:[^#\n].*\n)+)", re.MULTILINE)
WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))


def _quoted(page: str, before: str) -> str:
    """The first line of the first shell block after some words of a page."""
    text = (PROJECT / page).read_text(encoding="utf-8").partition(before)[2]
    return re.search(r"^```sh\n(.+)\n```$", text, re.MULTILINE)[1]


def test_the_readme_quotes_the_test_command_of_ci() -> None:
    (commands,) = TEST_COMMAND.findall(CI)
    joined = " && ".join(commands.splitlines())
    assert joined.endswith("pytest -q -n 4 --dist worksteal")
    assert _quoted("README.md", "<!-- test command -->") == joined
    assert _quoted("CONTRIBUTING.md", "## Set up") == joined


def test_ci_evaluates_no_text_of_a_document() -> None:
    assert not re.search(r"\beval\b|README\.md", CI)


def test_all_that_ci_runs_comes_with_the_test_command() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extras,) = re.findall(r"-e '\.\[([\w,]+)\]'", CI)
    installed = " ".join(each for extra in extras.split(",") for each in project["optional-dependencies"][extra])
    tools = {"pytest": "pytest", "ruff": "ruff", "mypy": "mypy", "lint-imports": "import-linter", "mkdocs": "mkdocs"}
    ran = set(re.findall(r"^(?:[A-Z_\d]+=\S+ )?([a-z-]+)", CI.partition("pip install")[2], re.MULTILINE))
    assert ran == set(tools)
    assert [tool for tool, package in tools.items() if not re.search(rf"\b{package}\b", installed)] == []


def test_the_version_has_one_source() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"] and project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "replibatch/__init__.py"
    assert version("replibatch") == replibatch.__version__


def test_all_but_the_rivals_of_the_benchmarks_have_exact_versions() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    exact = {_normal(line.partition("==")[0]) for line in lines if "==" in line}
    extras = {name: asked for name, asked in project["optional-dependencies"].items() if name != "bench"}
    asked = [*project["dependencies"], *(each for extra in extras.values() for each in extra)]
    names = {_normal(re.match(r"[\w.-]+", each)[0]) for each in asked}
    assert names - exact == set()


def test_workflows_call_what_is_there() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "newest.yml"]
    jobs = {name: job for path in WORKFLOWS for name, job in yaml.safe_load(path.read_text("utf-8"))["jobs"].items()}
    ran = "\n".join(step["run"] for job in jobs.values() for step in job["steps"] if "run" in step)
    assert "bash .ci/run" in ran
    for path in re.findall(r"(?:bash|pytest(?: -\S+)*) ((?:\.ci|tests)/\S+)", ran):
        assert (PROJECT / path).exists(), path
    assert set(re.findall(r"-e '\.\[([\w,]+)\]'", ran)) <= {"test", "test,docs"}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
