"""The table of Redis keys: no key is spelled elsewhere, in Python or in Lua."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from replibatch.redisdb import keys
from tests.support import PROJECT

PACKAGE = PROJECT / "replibatch"
LUA = sorted(PACKAGE.glob("*/lua/*.lua"))
PYTHON = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "keys.py")


@pytest.mark.parametrize("path", LUA, ids=lambda path: path.stem)
def test_lua_spells_only_keys_of_the_table(path: Path) -> None:
    text = re.sub(r"--.*", "", path.read_text())
    heads = {pattern.pattern.partition(":")[0] for pattern in keys.KEYS}
    assert set(re.findall(r"\bkey\('([^']+)'", text)) <= heads
    assert path.stem == "common" or "PREFIX .." not in text


def test_python_spells_no_key_of_its_own() -> None:
    spelled = [
        f"{path.relative_to(PROJECT)}: {found}"
        for path in PYTHON
        for found in re.findall(r"""f["']\{[\w.]*prefix\}[a-z]+:?|prefix \+ ["'][a-z]+""", path.read_text())
    ]
    assert not spelled


def test_each_kind_is_listed_once_and_knows_its_own_names() -> None:
    patterns = [each.pattern for each in keys.KEYS]
    assert len(set(patterns)) == len(patterns)
    for each in keys.KEYS:
        name = each.at("rb:a:", *["x"] * each.pattern.count("{"))
        assert keys.key_of(name, "rb:a:") is each
    assert keys.key_of("rb:b:slots", "rb:a:") is None and keys.key_of("rb:a:other", "rb:a:") is None


def test_the_owners_are_packages() -> None:
    assert all((PACKAGE / each.owner).is_dir() for each in keys.KEYS)
