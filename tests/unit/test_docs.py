"""What the documents say of the tests holds: each that is named is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import PROJECT

NAMED = re.compile(r"`(test_\w+\.py)::(\w+)`")
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


def test_every_link_of_a_page_leads_somewhere() -> None:
    for page in (PROJECT / "docs").glob("*.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
