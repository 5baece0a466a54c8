"""The command that measures how the code speaks counts what it says it counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wording import measure, texts

BOUND = 1.84  # phrases that make a riddle of a sentence, per 1,000 words of the product
PYTHON = '''"""What is known of it."""

import click

WHOSE = "whose constant is no message"  # nobody reads this  # noqa: F401


class Thing:
    """One two three."""

    def go(self, name):
        log.warning("told", item=f"somebody {name} else")
        click.echo(f"whoever {name}")
        print("nobody" if name else "of them")
        say("told")
        raise ValueError(f"{name}: what has happened")
'''
LUA = """-- whose slot
local text = "-- nobody" -- told
--[[ what is
held ]]
return 1
"""


def _written(folder: Path, name: str, source: str) -> Path:
    path = folder / name
    path.write_text(source, encoding="utf-8")
    return path


def test_docstrings_comments_and_messages_of_python_are_counted(tmp_path: Path) -> None:
    wording = measure([_written(tmp_path, "thing.py", PYTHON)])
    assert dict(wording.found) == {
        "what is/has": 2,
        "of it/them": 2,
        "told": 1,
        "nobody/somebody": 3,
        "whose/whoever": 1,
    }
    assert wording.words == 5 + 3 + 3 + 3 + 1 + 3 + 3


def test_comments_of_lua_are_counted_and_its_strings_are_not(tmp_path: Path) -> None:
    path = _written(tmp_path, "step.lua", LUA)
    assert [(text.place.rpartition(":")[2], text.words.split()) for text in texts(path)] == [
        ("1", ["whose", "slot"]),
        ("2", ["told"]),
        ("3", ["what", "is", "held"]),
    ]
    assert measure([path]).found.total() == 3


def test_folders_are_measured_whole_per_thousand_words(tmp_path: Path) -> None:
    _written(tmp_path, "a.py", '"""' + "word " * 249 + 'told."""\n')
    _written(tmp_path, "b.lua", "-- " + "word " * 250 + "\n")
    _written(tmp_path, "c.txt", "told " * 10)
    wording = measure([tmp_path])
    assert (wording.words, wording.per_thousand("told"), wording.per_thousand()) == (500, 2.0, 2.0)


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        measure([tmp_path / "none"])


def test_the_product_is_measured_by_default() -> None:
    assert measure().words > 10_000


def test_the_product_speaks_plainly() -> None:
    wording = measure()
    places = "\n".join(f"{text.place}: {phrase}" for phrase, text in wording.places)
    assert wording.per_thousand() <= BOUND, f"{wording.found}\n{places}"
