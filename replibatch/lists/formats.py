"""The formats of a list: text, CSV and JSON lines, read as fields with the number of their line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import IO, Any, Literal

from replibatch.errors import ManifestError

Format = Literal["txt", "csv", "jsonl"]

OWN = ("prompt", "model", "output", "id")  # every other column or key is an input of the model
DELIMITERS = ",;\t"
MISTAKES_SHOWN = 50
LONGEST_LINE_BYTES = 1 << 20
BOM = b"\xef\xbb\xbf"

Fields = dict[str, Any]
RawLines = Iterator[tuple[int, bytes]]
Records = Iterator[tuple[int, Fields]]


class Unreadable(Exception):
    """What follows cannot be told apart any more."""

    def __init__(self, number: int, reason: str) -> None:
        self.number = number
        super().__init__(reason)


@dataclass
class Mistakes:
    """What was wrong, as much of it as people read."""

    source: str
    shown: list[tuple[int, str]] = field(default_factory=list)
    more: int = 0
    first_more: int = 0

    def add(self, number: int, reason: str) -> None:
        """Note what is wrong with a line."""
        if len(self.shown) < MISTAKES_SHOWN:
            self.shown.append((number, reason))
        else:
            self.first_more = self.first_more or number
            self.more += 1

    def raise_any(self) -> None:
        """Raise all of them together, as a `ManifestError`, if there are any."""
        if self.more:
            self.shown.append((self.first_more, f"and {self.more} more from here on"))
        if self.shown:
            raise ManifestError(self.source, self.shown)


def raw_lines(file: IO[bytes]) -> RawLines:
    """The lines, numbered from 1, from the first that is not blank."""
    number, begun = 0, False
    while raw := file.readline(LONGEST_LINE_BYTES + 1):
        number += 1
        if len(raw) > LONGEST_LINE_BYTES:
            raise Unreadable(number, f"longer than {LONGEST_LINE_BYTES >> 20} MiB")
        raw = raw.removeprefix(BOM) if number == 1 else raw
        begun = begun or bool(raw.strip())
        if begun:
            yield number, raw


def records(lines: RawLines, format: Format | None, mistakes: Mistakes) -> Records:
    """The items, each with the number of its first line."""
    first = next(lines, None)
    if first is None:
        return iter(())
    number, opening = first[0], first[1].decode("utf-8", "replace")
    lines = chain([first], lines)
    delimiter = _delimiter(opening)
    sniffed: Format = "jsonl" if opening.lstrip().startswith("{") else "csv" if delimiter else "txt"
    match format or sniffed:
        case "csv":
            return _csv_records(lines, number, delimiter or ",", mistakes)
        case "jsonl":
            return _jsonl_records(lines, mistakes)
    return _txt_records(lines, mistakes)


def _txt_records(lines: RawLines, mistakes: Mistakes) -> Records:
    for number, raw in lines:
        try:
            prompt = raw.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            mistakes.add(number, _not_text(error))
        else:
            if prompt:
                yield number, {"prompt": prompt}


def _jsonl_records(lines: RawLines, mistakes: Mistakes) -> Records:
    for number, raw in lines:
        if not raw.strip():
            continue
        try:
            fields = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
        except UnicodeDecodeError as error:
            mistakes.add(number, _not_text(error))
        except json.JSONDecodeError as error:
            mistakes.add(number, f"not JSON ({error.msg} at column {error.colno})")
        except (ValueError, RecursionError) as error:
            mistakes.add(number, f"not JSON ({error})")
        else:
            if isinstance(fields, dict):
                yield number, fields
            else:
                mistakes.add(number, 'not a JSON object; allowed: {"prompt": "…", …}')


def _csv_records(lines: RawLines, first: int, delimiter: str, mistakes: Mistakes) -> Records:
    rows = csv.reader(_decoded(lines), delimiter=delimiter, skipinitialspace=True, strict=True)
    header: list[str] = []
    following = first
    try:
        for row in rows:
            number, following = following, first + rows.line_num
            cells = [cell.strip() for cell in row]
            if not header:
                header = _header(number, cells)
            elif any(cells):
                named = dict(zip(header, cells, strict=False))
                if named.pop("", "") or any(cells[len(header) :]):
                    mistakes.add(
                        number, f"a cell under no column name; the columns are {', '.join(filter(None, header))}"
                    )
                else:
                    yield number, {name: cell for name, cell in named.items() if cell}
    except csv.Error as error:
        raise Unreadable(following, f"not CSV ({error})") from None


def _decoded(lines: RawLines) -> Iterator[str]:
    for number, raw in lines:
        try:
            yield raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Unreadable(number, _not_text(error)) from None


def _header(number: int, cells: list[str]) -> list[str]:
    header = [cell.lower() if cell.lower() in OWN else cell for cell in cells]
    if "prompt" not in header:
        raise Unreadable(number, f"no column 'prompt'; found: {', '.join(header)}")
    for name in filter(None, header):
        if header.count(name) > 1:
            raise Unreadable(number, f"two columns named {name!r}")
    return header


def _delimiter(opening: str) -> str | None:
    """What sets the column `prompt` of a header apart; None where the line is no header."""
    for delimiter in DELIMITERS:
        try:
            cells = next(csv.reader([opening], delimiter=delimiter, skipinitialspace=True), [])
        except csv.Error:
            return None
        if "prompt" in (cell.strip().lower() for cell in cells):
            return delimiter
    return None


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _not_text(error: UnicodeDecodeError) -> str:
    return f"not UTF-8 text ({error.reason} at byte {error.start + 1} of the line)"
