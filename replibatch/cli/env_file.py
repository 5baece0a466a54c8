"""A `.env` file, changed in place: all other lines stay as they are, letter for letter."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream

from replibatch.cli.errors import MISUSED, Failure
from replibatch.storage.atomic import staged

PRIVATE = 0o600
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=?&-]*")  # what needs no quotes


class EnvFile:
    """A `.env` file that is there, or is to be.

    Args:
        path: a link is followed.

    Raises:
        Failure: it cannot be read as text.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        try:
            self._text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            self._text = ""
        except UnicodeDecodeError as error:
            raise Failure(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})", MISUSED) from None

    def values(self) -> dict[str, str]:
        """What it sets to something."""
        return _values(self._text)

    def write(self, changes: Mapping[str, str]) -> None:
        """Set these, readable by its owner alone; the file appears whole or stays as it was.

        Raises:
            Failure: a `.env` file cannot hold a value.
        """
        text = changed(self._text, changes)
        told = _values(text)
        for name, value in changes.items():
            if told.get(name) != value:
                raise Failure(f"{name} cannot be written to {self.path.name}: set it in the environment", MISUSED)
        with staged(self.path) as stage:
            stage.path.touch(mode=PRIVATE, exist_ok=False)
            stage.path.write_text(text, encoding="utf-8")
            stage.commit()


def changed(text: str, changes: Mapping[str, str]) -> str:
    """The text of a `.env` file with these set: in place of the last line that sets each, or else at the end."""
    lines = list(parse_stream(io.StringIO(text)))
    last = {line.key: place for place, line in enumerate(lines) if line.key in changes}
    written = [
        _rewritten(line, changes) if place == last.get(line.key) else line.original.string
        for place, line in enumerate(lines)
        if line.key not in changes or place == last[line.key]
    ]
    body = "".join(written)
    if body and not body.endswith("\n"):
        body += "\n"
    return body + "".join(f"{name}={_quoted(value)}\n" for name, value in changes.items() if name not in last)


def _rewritten(line: Binding, changes: Mapping[str, str]) -> str:
    before = line.original.string
    blank = before[: len(before) - len(before.lstrip())]
    return f"{blank}{line.key}={_quoted(changes[str(line.key)])}\n"


def _values(text: str) -> dict[str, str]:
    return {name: value for name, value in dotenv_values(stream=io.StringIO(text)).items() if value}


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
