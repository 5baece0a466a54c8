"""What is used of other packages' own parts is where it was read; a failure names the version that moved it."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from replibatch.monitoring import flower_internals


@pytest.mark.parametrize("name", ["basic_auth", "tasks_columns", "max_tasks", "url_prefix", "port"])
def test_flower_tells_an_option_by_its_name(name: str) -> None:
    assert hasattr(flower_internals.option(name), "type"), f"flower {version('flower')} keeps options elsewhere"


def test_flower_lists_its_routes_and_templates() -> None:
    assert len(flower_internals.routes()) > 20, f"flower {version('flower')} keeps routes elsewhere"
    assert flower_internals.template_folder(), f"flower {version('flower')} keeps templates elsewhere"
