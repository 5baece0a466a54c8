"""Text of others acts on no terminal, passes for no line of ours, is bounded, and holds no secret of this process."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replibatch.errors import AttemptFailure, NoCredit
from replibatch.foreign_text import LONGEST_QUOTE, conceal, one_line, quoted, shown, visible

HOSTILE = [
    "\x1b]0;owned\x07",
    "\x1b]52;c;cm0gLXJmIH4=\x07",
    "\x9b31m",
    "\x08\x08\x08",
    "a\rb",
    "\u202egnp.exe",
    "\u2066x\u2069",
    "\x7f",
    "\u2028",
    "\U000e0041",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_acts_is_written_out(text: str) -> None:
    told = visible(text)
    assert told != text
    assert all(ord(character) < 0x10000 and character.isprintable() for character in told)


def test_other_text_stays() -> None:
    for text in ("a fox", "ein Füchslein", "狐", "👨‍👩‍👧", "می‌خواهم", "two\nlines\tand a tab"):
        assert visible(text) is text


@given(st.text())
def test_nothing_that_acts_is_left(text: str) -> None:
    for told in (visible(text), one_line(text)):
        assert not any(ord(character) < 32 and character not in "\n\t" for character in told)
        assert not any(0x7F <= ord(character) < 0xA0 for character in told)
    assert "\n" not in one_line(text)


@given(st.text())
def test_json_stays_json(text: str) -> None:
    assert json.loads(visible(json.dumps({"a": text}, ensure_ascii=False))) == {"a": text}


@given(st.recursive(st.integers() | st.floats() | st.text() | st.none(), st.lists, max_leaves=20))
def test_any_value_is_shown_within_bounds(value: object) -> None:
    assert len(shown(value)) <= 210


def test_numbers_without_end_and_values_without_bottom_are_shown() -> None:
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    for value in (10**5000, [10**5000], deep, "x" * 10**6):
        assert len(shown(value)) <= 210


def test_errors_quote_no_secret_and_no_more_than_can_be_kept() -> None:
    conceal("s3cret-of-this-process")
    text = "bad token s3cret-of-this-process and r8_0123456789abcdefghijABCDEFGHIJ " + "x" * 60_000_000
    for error in (AttemptFailure(text), NoCredit(text)):
        assert len(str(error)) <= LONGEST_QUOTE
        assert "s3cret" not in str(error) and "r8_0" not in str(error)
    assert quoted("short") == "short"


@pytest.mark.parametrize("log_format", ["lines", "json"])
def test_a_log_shows_it(log_format: str) -> None:
    script = (
        "import logging, structlog; from replibatch import logs\n"
        f"logs.configure({log_format!r}, level=logging.INFO, others=logging.INFO)\n"
        "log = structlog.get_logger('x')\n"
        "text = 'a\\x1b]0;owned\\x07\\n12:00:00 [info] forged \\u202e'\n"
        "log.warning(text, prompt=text)\n"
        "logging.getLogger('celery').warning('%s', text)\n"
        "try: raise ValueError(text)\n"
        "except ValueError: log.exception('failed')\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stderr and "\x07" not in done.stderr and "\u202e" not in done.stderr
    assert not any(line.startswith("12:00:00") for line in done.stderr.splitlines())
