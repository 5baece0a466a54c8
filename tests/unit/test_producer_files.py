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


@pytest.mark.parametrize(
    "name",
    [
        *("a\0b.png", "x" * 252 + ".png", "é" * 130 + ".png", "x" * 300 + "/a.png"),
        *("new/" + "x" * 300 + "/a.png", "new/" + "x" * 300 + "/new/a.png"),
        "new/" + "x/" * 2100 + "a.png",
    ],
)
def test_a_name_no_file_can_have_is_refused(files: Files, name: str) -> None:
    with pytest.raises(OutputPathError, match=r"^the output .*"):
        files.key(name, "g")


@pytest.mark.parametrize("target", ["nowhere", "link"])
def test_a_way_through_a_link_that_leads_nowhere_is_refused(files: Files, tmp_path: Path, target: str) -> None:
    (tmp_path / "link").symlink_to(target)
    for name in ("link/a.png", "link/new/a.png"):
        with pytest.raises(OutputPathError, match=r"^the output .*link"):
            files.key(name, "g")


def test_a_folder_of_a_long_name_that_is_there_serves(files: Files, tmp_path: Path) -> None:
    (tmp_path / ("x" * 255)).mkdir()
    assert files.key("x" * 255 + "/a.png", "g") == str(tmp_path / ("x" * 255) / "a.png")


def test_a_folder_that_cannot_be_written_is_refused(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK or path != locked)  # root may write anywhere
    with pytest.raises(OutputPathError, match="locked' cannot be written"):
        files.key("locked/new/a.png", "g")
    assert files.key("open/a.png", "g") == str(tmp_path / "open" / "a.png")
