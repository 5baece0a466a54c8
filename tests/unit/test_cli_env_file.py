"""A `.env` that is changed: ours in its place, everybody else's as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replibatch.cli.env_file import EnvFile, changed
from replibatch.cli.errors import Failure

OTHERS = "# ours\nDJANGO_KEY='a b # c'  # kept\n\nexport PATH_TO=/x\nodd line\n"


def test_what_is_not_changed_stays_letter_for_letter() -> None:
    assert changed(OTHERS, {"A": "1"}) == f"{OTHERS}A=1\n"
    assert changed(f"{OTHERS}A=0 # before\nB=2", {"A": "1"}) == f"{OTHERS}A=1\nB=2\n"


def test_a_key_set_twice_is_set_once() -> None:
    assert changed("A=1\nB=2\nA=3\n\n", {"A": "4"}) == "B=2\nA=4\n\n"


def test_the_file_is_its_owners_alone_and_a_link_to_it_stays_one() -> None:
    real = Path("real.env")
    real.write_text(OTHERS)
    real.chmod(0o644)
    Path(".env").symlink_to(real)
    EnvFile(Path(".env")).write({"A": "1"})
    assert Path(".env").is_symlink() and real.stat().st_mode & 0o777 == 0o600
    assert EnvFile(Path(".env")).values() == {"DJANGO_KEY": "a b # c", "PATH_TO": "/x", "A": "1"}


def test_what_such_a_file_cannot_tell_is_not_written() -> None:
    Path(".env").write_text("B=2\n")
    with pytest.raises(Failure, match="A cannot be written"):
        EnvFile(Path(".env")).write({"A": "${B}"})
    assert Path(".env").read_text() == "B=2\n"


def test_a_file_that_is_no_text_is_named() -> None:
    Path(".env").write_bytes(b"A=\xff\n")
    with pytest.raises(Failure, match=r"\.env: not UTF-8 text"):
        EnvFile(Path(".env"))


@settings(deadline=None, max_examples=50)  # each writes to the disk
@given(st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="$"), min_size=1))
def test_any_value_is_read_back_as_it_was(value: str) -> None:
    path = Path(".env")
    path.unlink(missing_ok=True)
    try:
        EnvFile(path).write({"A": value})
    except Failure:
        assert "\x85" in value
    else:
        assert EnvFile(path).values() == {"A": value}
