"""Each package that the code imports is declared in `pyproject.toml`, or comes with one that is."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

from tests.support import PROJECT

# Parts of pydantic, released with it.
PARTS = {"pydantic-core", "annotated-types"}


def _imported() -> set[str]:
    """The top-level packages of other distributions that any module of ours imports, at its top or later."""
    names = set()
    for path in (PROJECT / "replibatch").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {each.name.partition(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"replibatch"}


def test_each_imported_package_is_declared() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    declared = {re.split(r"[^\w.-]", each)[0].lower() for each in listed}
    homes = packages_distributions()
    missing = {
        name: homes.get(name, [name])
        for name in _imported()
        if not {home.lower().replace("_", "-") for home in homes.get(name, [name])} & (declared | PARTS)
    }
    assert missing == {}
