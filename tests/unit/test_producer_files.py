"""The places that callers ask for, looked at before anything is paid for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from replibatch.errors import OutputPathError
from replibatch.producer.files import Files
from replibatch.settings import load


@pytest.fixture
def files() -> Files:
    """Of a process with an embedded worker: any path of this machine."""
    return Files(load(), embedded=True, check_storage=lambda: None)


@pytest.mark.parametrize("name", ["a\0b.png", "x" * 252 + ".png", "é" * 130 + ".png", "x" * 300 + "/a.png"])
def test_a_name_no_file_can_have_is_refused(files: Files, name: str) -> None:
    with pytest.raises(OutputPathError, match=r"^the output .*"):
        files.key(name, "g")


def test_a_folder_that_cannot_be_written_is_refused(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK or path != locked)  # root may write anywhere
    with pytest.raises(OutputPathError, match="locked' cannot be written"):
        files.key("locked/new/a.png", "g")
    assert files.key("open/a.png", "g") == str(tmp_path / "open" / "a.png")
