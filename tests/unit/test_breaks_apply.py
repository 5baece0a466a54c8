"""The tables of breaks and mutants name text that stands in the code exactly once, and tests that are there."""

from __future__ import annotations

import re

import pytest

from tests import mutants, promises
from tests.support import PROJECT


@pytest.mark.parametrize("name", promises.BREAKS)
def test_a_broken_promise_names_a_text_and_a_test(name: str) -> None:
    broken = promises.BREAKS[name]
    assert (PROJECT / broken.file).read_text().count(broken.standing) == 1
    file, *names = broken.test.partition("[")[0].split("::")
    text = (PROJECT / file).read_text()
    assert all(re.search(rf"^ *(?:def|class) {each}\b", text, re.MULTILINE) for each in names)


@pytest.mark.parametrize("name", mutants.MUTANTS)
def test_a_mutant_names_a_text(name: str) -> None:
    file, standing, instead = mutants.MUTANTS[name]
    assert (mutants.LUA / f"{file}.lua").read_text().count(standing) == 1
    assert standing != instead
