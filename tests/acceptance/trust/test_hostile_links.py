"""An output folder may be somebody else's: no link in it leads a file out of it, and nothing in it is waited for."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import MODEL, replibatch


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the user's own, with a file that a shell executes."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".bashrc").write_text("# mine\n")
    (home / ".ssh/authorized_keys").write_text("mine\n")
    return home


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path / "theirs"
    (folder / "out").mkdir(parents=True)
    monkeypatch.chdir(folder)
    request.getfixturevalue("quick_models")
    return folder


def run(*lines: dict[str, str], output: str = "out") -> subprocess.CompletedProcess[str]:
    Path("list.jsonl").write_text("".join(json.dumps({"prompt": "$(touch owned)", **line}) + "\n" for line in lines))
    return replibatch("run", "list.jsonl", "-m", MODEL, "-o", output, "--sandbox")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


@pytest.mark.parametrize("name", ["results.jsonl", ".replibatch.lock"])
def test_our_own_files_are_no_links(theirs: Path, outside: Path, name: str) -> None:
    before = contents(outside)
    (theirs / "out" / name).symlink_to(outside / ".bashrc")
    done = run({})
    assert done.returncode == 2, done.stderr
    assert "is a link" in done.stderr and "Traceback" not in done.stderr
    assert contents(outside) == before


def test_a_page_that_is_a_link_is_replaced(theirs: Path, outside: Path) -> None:
    before = contents(outside)
    (theirs / "out/gallery.html").symlink_to(outside / ".bashrc")
    assert run({}).returncode == 0
    assert contents(outside) == before
    assert not (theirs / "out/gallery.html").is_symlink()


def test_a_hard_link_is_none_of_ours(theirs: Path, outside: Path) -> None:
    before = contents(outside)
    (theirs / "out/results.jsonl").hardlink_to(outside / ".bashrc")
    done = run({})
    assert done.returncode == 2 and "hard link" in done.stderr
    assert contents(outside) == before


def test_a_folder_that_is_a_link_leads_nowhere(theirs: Path, outside: Path) -> None:
    before = contents(outside)
    (theirs / "out/sub").symlink_to(outside)
    done = run({"output": "sub/authorized_keys"})
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") < 4 and "Traceback" not in done.stderr
    assert contents(outside) == before
    assert not (theirs / "out/results.jsonl").exists(), "nothing was started"


def test_a_link_in_a_file_s_place_is_replaced(theirs: Path, outside: Path) -> None:
    before = contents(outside)
    (theirs / "out/fox.png").symlink_to(outside / ".bashrc")
    run({"output": "fox.png"})  # refused, or replaced; never followed
    assert contents(outside) == before


def test_no_list_writes_settings(theirs: Path) -> None:
    before = contents(theirs)
    done = run({"output": ".git/hooks/post-checkout"}, output=".")
    assert done.returncode == 2, done.stderr
    assert "settings" in done.stderr
    assert contents(theirs).keys() == {*before, "list.jsonl"}


def test_what_is_no_file_is_not_waited_for(theirs: Path) -> None:
    os.mkfifo(theirs / "out/results.jsonl")
    done = run({})
    assert done.returncode == 2, done.stderr
    assert "expected: a file" in done.stderr


def test_an_input_that_is_no_file_is_not_waited_for(theirs: Path) -> None:
    os.mkfifo(theirs / "cat.png")
    for place in ("cat.png", "/dev/zero"):
        done = run({"image": place})
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
