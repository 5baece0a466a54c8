"""What the documents say of the tests and of the code holds: what is named is there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

from tests.support import PROJECT

NAMED = re.compile(r"`(test_\w+\.py)::(\w+)`")
ARCHITECTURE = PROJECT / "docs" / "architecture.md"
GUIDE = PROJECT / "docs" / "coming-from-replicate-batch-process.md"


def _defined_in(file: str) -> set[str]:
    (path,) = (PROJECT / "tests").rglob(file)
    return set(re.findall(r"^ *def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("page", sorted((PROJECT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    named = NAMED.findall(page.read_text(encoding="utf-8"))
    assert [f"{file}::{name}" for file, name in named if name not in _defined_in(file)] == []


def test_every_row_of_the_guide_names_what_shows_it() -> None:
    rows = [line for line in GUIDE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    heads = ("| what it says", "| | there")
    open_rows = [row for row in rows if not row.startswith(heads) and not re.search(r"`[\w/.]+(::\w+)?` \|$", row)]
    assert len(rows) > 60 and open_rows == []


def test_the_first_command_says_which_python_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    (check,) = re.findall(r"^python3 -c '(.*)' &&$", readme, re.MULTILINE)
    with pytest.raises(SystemExit) as ended:
        exec(check)
    assert not ended.value.code
    with monkeypatch.context() as old, pytest.raises(SystemExit) as ended:
        old.setattr(sys, "version_info", (3, 10, 13))
        old.setattr(sys, "version", "3.10.13 (main)")
        exec(check)
    assert ended.value.code == "Python is 3.10.13; expected: 3.11 or later"
    assert 'requires-python = ">=3.11"' in (PROJECT / "pyproject.toml").read_text(encoding="utf-8")


def test_every_link_of_a_page_leads_somewhere() -> None:
    for page in (*(PROJECT / "docs").rglob("*.md"), *PROJECT.glob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_what_the_page_about_the_code_names_is_there() -> None:
    files = [path for root in ("replibatch", "workers", "tests") for path in (PROJECT / root).rglob("*.*")]
    names = {path.name for path in files} | {"pyproject.toml", "lua/"}
    product = [path for path in files if path.suffix in (".py", ".lua") and "tests" not in path.parts]
    code = "".join(path.read_text(encoding="utf-8") for path in product)
    named = re.findall(r"`([\w/.]+)`", ARCHITECTURE.read_text(encoding="utf-8"))

    def is_there(name: str) -> bool:
        if name in names or (PROJECT / name).exists():
            return True
        return "/" not in name and re.search(rf"\b{name.rpartition('.')[2]}\b", code) is not None

    assert len(named) > 100 and [name for name in named if not is_there(name)] == []


def test_every_room_has_its_line_on_that_page() -> None:
    rooms = {path.name for path in (PROJECT / "replibatch").iterdir() if not path.name.startswith("_")}
    table = ARCHITECTURE.read_text(encoding="utf-8").partition("## The rooms")[2].partition("## The way")[0]
    named = {name.rstrip("/").rpartition("/")[2] for name in re.findall(r"`([\w/.]+)`", table)}
    assert rooms - {"py.typed"} - named == set()


def test_every_page_has_a_place_on_the_site_which_loads_nothing_from_elsewhere() -> None:
    site = yaml.safe_load((PROJECT / "mkdocs.yml").read_text(encoding="utf-8"))
    places = set(re.findall(r"'([\w/-]+\.md)'", str(site["nav"])))
    folder = PROJECT / "docs"
    assert places == {path.relative_to(folder).as_posix() for path in folder.rglob("*.md")}
    assert site["theme"]["font"] is False and not site.keys() & {"extra_javascript", "extra_css"}
