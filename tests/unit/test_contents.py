"""Whether a file is there: yes, no, or it cannot be told."""

from __future__ import annotations

from pathlib import Path

import pytest

from replibatch.contents import is_there


def test_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nothing")
    assert is_there(tmp_path) and is_there(tmp_path / "file")
    assert not any(is_there(tmp_path / name) for name in ("none", "none/a", "file/a", "dangling", "a\0b"))
    assert is_there(tmp_path / "dangling", follow_symlinks=False)


def test_what_cannot_be_looked_at_is_neither(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for name in ("loop/a", "x" * 300):
        with pytest.raises(OSError, match=r"Too many levels|too long"):
            is_there(tmp_path / name)
