"""Lists of prompts: `.txt`, `.csv` and `.jsonl`, read as a stream.

A list may be longer than memory: what is kept of a line, its id and the name of its output, is kept on disk. Values
of CSV cells and of `-i key=value` stay text; routing reads them as the model's input asks for.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

from replibatch.errors import ManifestError, RequestError
from replibatch.ondisk import DiskMap
from replibatch.requests import BatchRequest

Format = Literal["txt", "csv", "jsonl"]
Source = Path | str | IO[bytes]

STDIN = "-"
FORMATS: dict[str, Format] = {".txt": "txt", ".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
OWN = ("prompt", "model", "output", "id")  # every other column or key is an input of the model
DELIMITERS = ",;\t"
MISTAKES_SHOWN = 50
LONGEST_LINE_BYTES = 1 << 20
SPOOLED_BYTES = 8 << 20  # of a piped list, before it goes to a temporary file
BOM = b"\xef\xbb\xbf"
ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:[/\\]")

Fields = dict[str, Any]
RawLines = Iterator[tuple[int, bytes]]
Records = Iterator[tuple[int, Fields]]


@dataclass(frozen=True)
class ManifestLine:
    """One item of a list.

    Attributes:
        number: of its (first) line, from 1.
        request: what it asks for; its `request_id` is `id` where there is one.
        id: the list's own name for it; None where it has none.
        folder: where the relative paths of its images start.
    """

    number: int
    request: BatchRequest
    id: str | None
    folder: Path


class _Unreadable(Exception):
    """What follows cannot be told apart any more."""

    def __init__(self, number: int, reason: str) -> None:
        self.number = number
        super().__init__(reason)


@dataclass
class _Mistakes:
    """What was wrong, as much of it as people read."""

    source: str
    shown: list[tuple[int, str]] = field(default_factory=list)
    more: int = 0
    first_more: int = 0

    def add(self, number: int, reason: str) -> None:
        if len(self.shown) < MISTAKES_SHOWN:
            self.shown.append((number, reason))
        else:
            self.first_more = self.first_more or number
            self.more += 1

    def raise_any(self) -> None:
        if self.more:
            self.shown.append((self.first_more, f"and {self.more} more from here on"))
        if self.shown:
            raise ManifestError(self.source, self.shown)


def read(
    source: Source,
    *,
    default_model: str | None = None,
    defaults: Mapping[str, Any] | None = None,
    format: Format | None = None,
    check: Callable[[ManifestLine], object] | None = None,
) -> Iterator[ManifestLine]:
    """Read a list of prompts, line by line.

    A mistake does not end the reading: what is well-formed is yielded, and all mistakes are raised together at the
    end. To know before anything is spent, read the list to its end once, then again.

    Args:
        source: the file, `-` for standard input, or what `rereadable` gives.
        default_model: for lines that name none.
        defaults: model inputs for lines that do not set them.
        format: `txt`, `csv` or `jsonl`; None goes by the file's extension, or by the first line where it has none.
        check: looks at each line, and raises a `RequestError` for one that will not do.

    Raises:
        ManifestError: with every mistake, by line.
        RequestError: the list cannot be read, or its format is not known.
    """
    mistakes = _Mistakes(_name(source))
    with DiskMap() as seen, _opened(source) as (file, folder):
        try:
            for number, fields in _records(_raw_lines(file), format or _format(source), mistakes):
                try:
                    line = _line(number, fields, default_model, defaults or {}, folder)
                    _check_unique(line, seen)
                    if check is not None:
                        check(line)
                except RequestError as error:
                    mistakes.add(number, str(error))
                else:
                    yield line
        except _Unreadable as error:
            mistakes.add(error.number, str(error))
    mistakes.raise_any()


@contextmanager
def rereadable(source: Path | str) -> Iterator[Source]:
    """The list as `read` can read it more than once: a copy of what comes through a pipe, the file itself otherwise.

    Args:
        source: the file, or `-` for standard input.
    """
    if source != STDIN and not Path(source).is_fifo():
        yield source
        return
    with tempfile.SpooledTemporaryFile(max_size=SPOOLED_BYTES) as copy, _opened(source) as (file, _):
        shutil.copyfileobj(file, copy)
        yield copy


def parse_inputs(pairs: Iterable[str]) -> dict[str, Any]:
    """The model inputs of `-i key=value` options: texts, and a list of texts for a key given more than once.

    Raises:
        RequestError: a pair without `=` or key, or a key that is no model input.
    """
    inputs: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip()
        if not equals or not key:
            raise RequestError(f"-i {pair!r}; allowed: key=value, as in -i aspect_ratio=16:9")
        if key in OWN:
            raise RequestError(f"-i {pair!r}; {key!r} is no input of a model")
        if key in inputs:
            earlier = inputs[key]
            inputs[key] = [*(earlier if isinstance(earlier, list) else [earlier]), value]
        else:
            inputs[key] = value
    return inputs


def _name(source: Source) -> str:
    return str(source) if isinstance(source, Path | str) and source != STDIN else "standard input"


@contextmanager
def _opened(source: Source) -> Iterator[tuple[IO[bytes], Path]]:
    """The list's bytes, and the folder where the relative paths in it start."""
    if source == STDIN:
        yield sys.stdin.buffer, Path.cwd()
    elif isinstance(source, Path | str):
        path = Path(source)
        try:
            file = path.open("rb")
        except OSError as error:
            raise RequestError(f"{source}: cannot be read ({error.strerror})") from None
        with file:
            yield file, path.absolute().parent
    else:
        source.seek(0)
        yield source, Path.cwd()


def _format(source: Source) -> Format | None:
    """The format by the file's name; None where it has no extension."""
    extension = Path(_name(source)).suffix.lower()
    if extension in FORMATS or not extension:
        return FORMATS.get(extension)
    raise RequestError(f"{source}: {extension} is no list of prompts; allowed: .txt, .csv, .jsonl, or - as the name")


def _raw_lines(file: IO[bytes]) -> RawLines:
    """The lines, numbered from 1, from the first that is not blank."""
    number, begun = 0, False
    while raw := file.readline(LONGEST_LINE_BYTES + 1):
        number += 1
        if len(raw) > LONGEST_LINE_BYTES:
            raise _Unreadable(number, f"longer than {LONGEST_LINE_BYTES >> 20} MiB")
        raw = raw.removeprefix(BOM) if number == 1 else raw
        begun = begun or bool(raw.strip())
        if begun:
            yield number, raw


def _records(lines: RawLines, format: Format | None, mistakes: _Mistakes) -> Records:
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


def _txt_records(lines: RawLines, mistakes: _Mistakes) -> Records:
    for number, raw in lines:
        try:
            prompt = raw.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            mistakes.add(number, _not_text(error))
        else:
            if prompt:
                yield number, {"prompt": prompt}


def _jsonl_records(lines: RawLines, mistakes: _Mistakes) -> Records:
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


def _csv_records(lines: RawLines, first: int, delimiter: str, mistakes: _Mistakes) -> Records:
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
        raise _Unreadable(following, f"not CSV ({error})") from None


def _decoded(lines: RawLines) -> Iterator[str]:
    for number, raw in lines:
        try:
            yield raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _Unreadable(number, _not_text(error)) from None


def _header(number: int, cells: list[str]) -> list[str]:
    header = [cell.lower() if cell.lower() in OWN else cell for cell in cells]
    if "prompt" not in header:
        raise _Unreadable(number, f"no column 'prompt'; found: {', '.join(header)}")
    for name in filter(None, header):
        if header.count(name) > 1:
            raise _Unreadable(number, f"two columns named {name!r}")
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


def _line(
    number: int, fields: Fields, default_model: str | None, defaults: Mapping[str, Any], folder: Path
) -> ManifestLine:
    """One item; a `RequestError` where it is malformed."""
    given = {name: value for name, value in fields.items() if value is not None}
    item = given.pop("id", None)
    if isinstance(item, int) and not isinstance(item, bool):
        item = str(item)
    model = given.pop("model", default_model)
    if model is None:
        raise RequestError("no model; name one with -m, or in a column 'model'")
    prompt, output = given.pop("prompt", ""), given.pop("output", None)
    for name, value in (("prompt", prompt), ("model", model), ("output", output), ("id", item)):
        if value is not None and not isinstance(value, str):
            raise RequestError(f"{name} is {value!r}; allowed: text")
    if output is not None:
        _check_output(output)
    try:
        request = BatchRequest(prompt, model, output, {**defaults, **given}, item)
    except RequestError as error:
        raise RequestError(
            str(error).replace("model_name is", "model is").replace("request_id is", "id is")
        ) from None
    return ManifestLine(number, request, item, folder)


def _check_output(output: str) -> None:
    """Refuse a name that leaves the output folder, on any platform, or that is no file's."""
    parts = re.split(r"[/\\]", output)
    if ABSOLUTE.match(output) or ".." in parts or "\0" in output:
        raise RequestError(f"output is {output!r}; allowed: a name within the output folder")
    if parts[-1] in ("", "."):
        raise RequestError(f"output is {output!r}; allowed: a file's name, not a folder's")


def _check_unique(line: ManifestLine, seen: DiskMap) -> None:
    """Refuse an id or an output that an earlier line has."""
    output = line.request.output_filepath
    for name, value in (("id", line.id), ("output", output and str(PurePosixPath(output)))):
        if value is None:
            continue
        key = hashlib.sha256(f"{name} {value}".encode()).digest()[:16]
        if (earlier := seen.setdefault(key, line.number)) != line.number:
            raise RequestError(f"{name} {value!r} is that of line {earlier} already")


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _not_text(error: UnicodeDecodeError) -> str:
    return f"not UTF-8 text ({error.reason} at byte {error.start + 1} of the line)"
