"""The pages made from the code, or that quote it, say what the code says today."""

from __future__ import annotations

import re
import runpy

import pytest

from tests.support import PROJECT

PAGES = runpy.run_path(str(PROJECT / "docs" / "generate.py"))["PAGES"]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_made_from_the_code_is_current(name: str) -> None:
    assert (PROJECT / "docs" / name).read_text("utf-8") == PAGES[name](), "run: python docs/generate.py"


def test_every_message_that_troubleshooting_explains_is_one_of_ours() -> None:
    sources = [path for folder in ("replibatch", "workers") for path in (PROJECT / folder).rglob("*.py")]
    code = "\n".join(path.read_text("utf-8") for path in sources)
    literals = re.sub(r'"\s*\n\s*f?"', "", code)  # those that go on in the next line
    page = (PROJECT / "docs" / "troubleshooting.md").read_text("utf-8")
    quoted = re.findall(r"^\| `([^`…]+)` ", page, re.MULTILINE)
    assert quoted
    assert [message for message in quoted if message not in literals] == []
