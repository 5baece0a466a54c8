"""Tables written as text: CSV, TSV, and Markdown."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from replibatch.lists.lines import Line, Mistake, Read, Unreadable
from replibatch.lists.sniff import DELIMITER_NAMES

Numbered = Iterable[tuple[int, str]]
Row = tuple[int, list[Any]]

LONGEST_CELL_LINES = 100
QUOTE = '"'
_BAR = re.compile(r"(?<!\\)\|")
_UNNAMED = re.compile(r"(unnamed: ?\d+)?", re.IGNORECASE)


def csv_rows(numbered: Callable[[], Numbered], delimiter: str, comments: str | None = None) -> Iterator[Row]:
    """The rows of a table, each with the number of its first line; the header comes first.

    Args:
        numbered: opens its lines; called once more to see how it is quoted.
        delimiter: between cells.
        comments: what begins a line that is left out.

    Raises:
        Unreadable: its quotes make no cells.
    """
    if delimiter == "\t" and _needs_no_quotes(numbered(), comments):
        for number, line in _content(numbered(), comments):
            yield number, [_unquoted(cell.strip()) for cell in line.rstrip("\r\n").split("\t")]
        return
    yield from _quoted_rows(numbered(), delimiter, comments)


def table_lines(rows: Iterator[Row], file: str) -> Read:
    """The rows under their header as lines.

    Raises:
        Unreadable: the header does not name the columns.
    """
    header: list[str] | None = None
    for number, cells in rows:
        if header is None:
            header = _header(number, [str(cell).strip() for cell in cells])
            continue
        named = dict(zip(header, cells, strict=False))
        unnamed = named.pop("", "")
        if unnamed and header[0] == "" and str(unnamed).isdecimal():
            unnamed = ""  # the row numbers that pandas writes
        if unnamed or any(cells[len(header) :]):
            columns = ", ".join(filter(None, header))
            found = f"{len(cells)} cells under {sum(map(bool, header))} columns ({columns})"
            hint = "quotes around a cell with the delimiter in it"
            if sum(map(bool, header)) == 1:
                hint += ", and no title above the header"
            yield Mistake(file, number, f"{found}; expected: {hint}")
        elif fields := {name: cell for name, cell in named.items() if cell not in ("", None)}:
            yield Line(file, number, fields)


def markdown_rows(numbered: Numbered) -> Iterator[Row]:
    """The rows of a Markdown table, without its rule."""
    for place, (number, line) in enumerate(_content(numbered, None)):
        if "|" not in line:
            raise Unreadable("text below the table; expected: the table alone", number)
        if place != 1:
            cells = _BAR.split(line.strip().removeprefix("|").removesuffix("|"))
            yield number, [cell.strip().replace("\\|", "|") for cell in cells]


def _content(numbered: Numbered, comments: str | None) -> Iterator[tuple[int, str]]:
    """The lines that hold cells: not blank, no comment, not Excel's `sep=;`."""
    begun = False
    for number, line in numbered:
        stripped = line.strip()
        if not begun and (not stripped or stripped.strip(QUOTE).lower().startswith("sep=")):
            continue
        if comments and stripped.startswith(comments):
            continue
        begun = True
        if stripped:
            yield number, line


def _needs_no_quotes(numbered: Numbered, comments: str | None) -> bool:
    """Whether each line has as many tabs as the header: then a quote is a quote."""
    tabs = None
    for _, line in _content(numbered, comments):
        count = line.count("\t")
        tabs = count if tabs is None else tabs
        if count != tabs:
            return False
    return True


def _unquoted(cell: str) -> str:
    """A cell as it was before Excel put it into quotes for a comma or a quote in it; any other as it is."""
    if len(cell) < 2 or cell[0] != QUOTE or cell[-1] != QUOTE:
        return cell
    inner = cell[1:-1]
    lone = inner.replace('""', "").count(QUOTE)
    return inner.replace('""', QUOTE) if not lone and ('""' in inner or "," in inner) else cell


def _quoted_rows(numbered: Numbered, delimiter: str, comments: str | None) -> Iterator[Row]:
    lines = _Lines(numbered, comments)
    rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=True)
    single = False
    header_delimiters = 0
    begun = False
    try:
        for row in rows:
            number, taken = lines.taken()
            if not begun:
                begun, single, header_delimiters = True, len(row) == 1, len(row) - 1
                lines.whole_lines = single
            elif len(taken) > 1:
                _check_stray(number, taken, delimiter, header_delimiters)
            if row:
                yield number, [cell.strip() for cell in row]
    except csv.Error as error:
        number, taken = lines.taken()
        raise Unreadable(_about_quotes(str(error), taken), number) from None


class _Lines:
    """Hands the lines of a table to the CSV reader, and remembers the lines of each row."""

    def __init__(self, numbered: Numbered, comments: str | None) -> None:
        self._source = iter(numbered)
        self._comments = comments
        self._taken: list[tuple[int, str]] = []
        self._begun = False
        self.whole_lines = False  # of a table of one column: a line is a cell, unless it begins with a quote

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        for number, line in self._source:
            stripped = line.strip()
            if not self._taken:
                if not stripped or (not self._begun and stripped.strip(QUOTE).lower().startswith("sep=")):
                    continue
                if self._comments and stripped.startswith(self._comments):
                    continue
                if self.whole_lines and not stripped.startswith(QUOTE):
                    line = QUOTE + stripped.replace(QUOTE, '""') + QUOTE  # noqa: PLW2901
            self._begun = True
            self._taken.append((number, line))
            return line
        raise StopIteration

    def taken(self) -> tuple[int, list[str]]:
        """The number of the first line of the last row, and its lines."""
        number = self._taken[0][0] if self._taken else 0
        lines = [line for _, line in self._taken]
        self._taken.clear()
        return number, lines


def _check_stray(number: int, taken: list[str], delimiter: str, header_delimiters: int) -> None:
    """Refuse a cell over several lines that look like rows of their own: its quote is a stray one.

    Raises:
        Unreadable: they do.
    """
    inner = taken[1:-1]
    alike = sum(line.count(delimiter) == header_delimiters for line in inner) if header_delimiters else 0
    if alike * 2 > len(inner) or len(taken) > LONGEST_CELL_LINES:
        raise Unreadable(
            f"a quote opens a cell that goes on for {len(taken)} lines; expected: no stray quotation mark, "
            'and "" for one inside a quoted cell',
            number,
        )


def _about_quotes(error: str, taken: list[str]) -> str:
    if "expected after" in error:
        return 'a quote closes in the middle of a cell; expected: "" for a quotation mark inside a quoted cell'
    if "unexpected end of data" in error:
        return f"a quote opens a cell that never ends ({len(taken)} lines); expected: no stray quotation mark"
    return f"not CSV ({error})"


def _header(number: int, cells: list[str]) -> list[str]:
    header = ["" if _UNNAMED.fullmatch(cell) else cell for cell in cells]
    if not any(header):
        raise Unreadable("the first line names no column; expected: a header", number)
    for name in filter(None, header):
        if header.count(name) > 1:
            raise Unreadable(f"two columns are named {name!r}; expected: one", number)
    return header


__all__ = ["DELIMITER_NAMES", "csv_rows", "markdown_rows", "table_lines"]
