"""JSON read as a stream: the elements of a list and the members of an object one by one, each with its line."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import IO, Any

from replibatch.lists.lines import Unreadable
from replibatch.lists.source import not_in

CHUNK_CHARACTERS = 64 * 1024
LONGEST_VALUE = 32 << 20  # characters
SPACE = " \t\r\n"
WITHOUT_COMMA = "expected: the last element without a comma after it"


class JSONStream:
    """A text of JSON, read piece by piece.

    Args:
        file: its bytes.
        encoding: theirs.
    """

    def __init__(self, file: IO[bytes], encoding: str) -> None:
        self._encoding = encoding
        self._text = io.TextIOWrapper(file, encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="")
        self._decoder = json.JSONDecoder(parse_constant=_refuse_constant)
        self._buffer = ""
        self._at = 0
        self._ended = False
        self.line = 1  # of what comes next

    def close(self) -> None:
        """Let go of the file, which stays open."""
        self._text.detach()

    def peek(self) -> str:
        """The next character that is not space; empty at the end."""
        while True:
            while self._at < len(self._buffer):
                character = self._buffer[self._at]
                if character not in SPACE:
                    return character
                self.line += character == "\n"
                self._at += 1
            if not self._more():
                return ""

    def take(self, expected: str) -> None:
        """Step over one of these characters.

        Raises:
            Unreadable: another one comes next.
        """
        found = self.peek()
        if not found or found not in expected:
            what = repr(found) if found else "the end of the file"
            raise Unreadable(f"not JSON: {what} where one of {' '.join(expected)} is expected", self.line)
        self._at += 1

    def value(self) -> Any:
        """The next value, whole.

        Raises:
            Unreadable: it is malformed, or longer than 32 million characters.
        """
        self.peek()
        wanted = CHUNK_CHARACTERS
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._at)
                if end < len(self._buffer) or not self._more():
                    break
            except json.JSONDecodeError as error:
                if len(self._buffer) - self._at > LONGEST_VALUE:
                    raise Unreadable(f"a JSON value longer than {LONGEST_VALUE >> 20} MiB", self.line) from None
                if not self._more(wanted):
                    line = self.line + self._buffer.count("\n", self._at, error.pos)
                    raise Unreadable(about_json(self._buffer, error), line) from None
                wanted *= 2
            except (ValueError, RecursionError) as error:
                raise Unreadable(f"not JSON ({error})", self.line) from None
        self.line += self._buffer.count("\n", self._at, end)
        self._at = end
        return value

    def elements(self) -> Iterator[int]:
        """Steps through a list: yields the line of each value, which the caller then takes."""
        self.take("[")
        if self.peek() == "]":
            self.take("]")
            return
        while True:
            self.peek()
            yield self.line
            self.take(",]")
            if self._buffer[self._at - 1] == "]":
                return
            if self.peek() == "]":
                raise Unreadable(f"not JSON: a comma before the end of the list; {WITHOUT_COMMA}", self.line)

    def members(self) -> Iterator[tuple[int, str]]:
        """Steps through an object: yields the line and key of each value, which the caller then takes."""
        self.take("{")
        if self.peek() == "}":
            self.take("}")
            return
        while True:
            if self.peek() != '"':
                self.take('"')
            line, key = self.line, self.value()
            self.take(":")
            self.peek()
            yield line, str(key)
            self.take(",}")
            if self._buffer[self._at - 1] == "}":
                return
            if self.peek() == "}":
                raise Unreadable(f"not JSON: a comma before the end of the object; {WITHOUT_COMMA}", self.line)

    def _more(self, characters: int = CHUNK_CHARACTERS) -> bool:
        """Read on; False at the end."""
        if self._ended:
            return False
        try:
            chunk = self._text.read(characters)
        except UnicodeDecodeError as error:
            raise not_in(self._encoding, error, self.line) from None
        if not chunk:
            self._ended = True
            return False
        self._buffer = self._buffer[self._at :] + chunk
        self._at = 0
        return True


def about_json(text: str, error: json.JSONDecodeError) -> str:
    """What to say of a text that is no JSON, for people."""
    before, at = text[: error.pos].rstrip(), text[error.pos : error.pos + 1]
    if "trailing comma" in error.msg or (at and at in "]}" and before.endswith(",")):  # the first is of Python 3.13
        what = "list" if at == "]" or "array" in error.msg else "object"
        return f"not JSON: a comma before the end of the {what}; {WITHOUT_COMMA}"
    if at == "'":
        return "not JSON: a text in single quotes; expected: double quotes, as json.dump writes them"
    if at in ("\u201c", "\u201d"):
        return "not JSON: a text in curly quotes, as a word processor writes them; expected: straight double quotes"
    if text[error.pos : error.pos + 2] in ("//", "/*") or at == "#":
        return "not JSON: a comment; expected: the list without it"
    return f"not JSON ({error.msg})"


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")
