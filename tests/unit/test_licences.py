"""The licences of what an installation brings along."""

from __future__ import annotations

import pytest

from tests import licences


def test_all_that_is_brought_along_asks_for_its_notice_at_most(capsys: pytest.CaptureFixture[str]) -> None:
    assert licences.main(["s3"]) == 0, capsys.readouterr().out
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert {"celery", "obstore", "replicate", "pydantic-core"} <= listed and "pytest" not in listed


@pytest.mark.parametrize("name", ["", "GPL-3.0-only", "AGPL-3.0-or-later", "Limited use", "Proprietary", "SSPL-1.0"])
def test_any_other_is_shown(name: str) -> None:
    assert not licences.is_fine(name)
