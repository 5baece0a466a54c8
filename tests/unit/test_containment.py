"""Nothing is written or read outside a folder, whatever is in it and whatever the names are."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replibatch.errors import OutputPathError
from replibatch.storage.atomic import staged
from replibatch.storage.containment import Place, open_to_append
from replibatch.storage.folder import Folder
from replibatch.storage.names import refuse_settings, safe_key

NAMES = st.sampled_from(
    ["a", "b", "link", "up", "..", ".", "", "loop", "file", "é", "\u202e", "x" * 300, "\0", "/", "~"]
)
KEYS = st.one_of(st.lists(NAMES, max_size=6).map("/".join), st.text(max_size=40))


def everything(folder: Path) -> set[tuple[str, bytes]]:
    return {(str(each), each.read_bytes()) for each in folder.rglob("*") if each.is_file() and not each.is_symlink()}


@settings(max_examples=300, deadline=None)
@given(KEYS)
def test_nothing_is_written_outside(key: str) -> None:
    top = Path(tempfile.mkdtemp())
    try:
        (root := top / "root").mkdir()
        (top / "outside").mkdir()
        (top / "outside/file").write_bytes(b"mine")
        (root / "a/b").mkdir(parents=True)
        (root / "file").write_bytes(b"theirs")
        (root / "link").symlink_to(top / "outside")
        (root / "a/link").symlink_to("../../outside/file")
        (root / "up").symlink_to("..")
        (root / "loop").symlink_to("loop")
        before = everything(top / "outside")
        folder = Folder(root)
        with suppress(OutputPathError, OSError, ValueError), folder.staging(key) as stage:
            stage.path.write_bytes(b"new")
            stage.commit()
        with suppress(OutputPathError, OSError, ValueError):
            assert b"mine" not in b"".join(folder.chunks(key))
        assert everything(top / "outside") == before
        assert {each.name for each in top.iterdir()} == {"root", "outside"}
    finally:
        shutil.rmtree(top)


def test_a_folder_that_becomes_a_link_meanwhile_leads_nowhere(tmp_path: Path) -> None:
    (outside := tmp_path / "outside").mkdir()
    (root := tmp_path / "root").mkdir()
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            with suppress(OSError):
                (root / "sub").mkdir()
                (root / "sub").rmdir()
            with suppress(OSError):
                (root / "sub").symlink_to(outside)
                (root / "sub").unlink()

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for number in range(400):
            with suppress(OutputPathError, OSError), staged(Place(root, f"sub/{number}")) as stage:
                stage.path.write_bytes(b"x")
                stage.commit()
    finally:
        over.set()
        swapping.join()
    assert list(outside.iterdir()) == []


def test_the_place_is_where_the_folder_was_opened(tmp_path: Path) -> None:
    (outside := tmp_path / "outside").mkdir()
    (root := tmp_path / "root").mkdir()
    with staged(Place(root, "sub/fox.png")) as stage:
        (root / "sub").rename(root / "moved")
        (root / "sub").symlink_to(outside)
        stage.path.write_bytes(b"fox")
        stage.commit()
    assert (root / "moved/fox.png").read_bytes() == b"fox"
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("made", ["link", "fifo", "folder", "hard link"])
def test_a_file_of_ours_is_a_file_of_its_own(tmp_path: Path, made: str) -> None:
    place, other = tmp_path / "results.jsonl", tmp_path / "other"
    other.write_text("mine")
    if made == "link":
        place.symlink_to(other)
    elif made == "fifo":
        os.mkfifo(place)
    elif made == "folder":
        place.mkdir()
    else:
        place.hardlink_to(other)
    with pytest.raises((OutputPathError, IsADirectoryError)):
        open_to_append(place)
    assert other.read_text() == "mine"


@pytest.mark.parametrize("made", ["link", "fifo", "device"])
def test_what_is_no_file_is_not_read(tmp_path: Path, made: str) -> None:
    if made == "link":
        (tmp_path / "x").symlink_to("/etc/passwd")
    elif made == "fifo":
        os.mkfifo(tmp_path / "x")
    else:
        pytest.importorskip("posix")
        (tmp_path / "x").symlink_to("/dev/zero")
    with pytest.raises(OutputPathError):
        Place(tmp_path, "x").open()


@pytest.mark.parametrize(
    "name", [".env", ".git/hooks/post-checkout", "a/.ssh/rc", "replibatch.toml", "A/RePliBatch.TOML", "\u200b.env"]
)
def test_no_list_names_settings(name: str) -> None:
    with pytest.raises(OutputPathError, match="settings"):
        refuse_settings(safe_key(name))


def test_other_names_are_fine() -> None:
    for name in ("a/fox.png", "réservé.png", "a..b.png", "…/x.png", "env", "git/x"):
        refuse_settings(safe_key(name))
