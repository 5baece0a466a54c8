"""Lists of prompts: `.txt`, `.csv` and `.jsonl`, read as a stream.

A list may be longer than memory: nothing is kept of a line but its id and the name of its output. Values of CSV cells
and of `-i key=value` stay text; routing reads them as the model's input asks for.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from replibatch.errors import ManifestError, RequestError
from replibatch.requests import BatchRequest

Format = Literal["txt", "csv", "jsonl"]

STDIN = "-"
FORMATS: dict[str, Format] = {".txt": "txt", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
OWN = ("prompt", "model", "output", "id")  # every other column or key is an input of the model
DELIMITERS = ",;\t"
MISTAKES_SHOWN = 50
LONGEST_LINE_BYTES = 1 << 20
BOM = b"\xef\xbb\xbf"

Fields = dict[str, Any]


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


class _Mistake(Exception):
    """A line is malformed; reading goes on."""


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
    source: Path | str,
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
        source: the file, or `-` for standard input.
        default_model: for lines that name none.
        defaults: model inputs for lines that do not set them.
        format: `txt`, `csv` or `jsonl`; None goes by the file's extension, and by the first line of standard input.
        check: looks at each line, and raises a `RequestError` for one that will not do.

    Raises:
        ManifestError: with every mistake, by line; or the file cannot be read.
    """
    name = "standard input" if source == STDIN else str(source)
    mistakes = _Mistakes(name)
    seen: dict[tuple[str, str], int] = {}
    try:
        with _opened(source) as (file, folder):
            for number, fields in _records(file, format or _format(source), mistakes):
                try:
                    line = _line(number, fields, default_model, defaults or {}, folder)
                    _check_unique(line, seen)
                    if check is not None:
                        check(line)
                except (_Mistake, RequestError) as error:
                    mistakes.add(number, str(error))
                else:
                    yield line
    except _Unreadable as error:
        mistakes.add(error.number, str(error))
    mistakes.raise_any()


@contextmanager
def rereadable(source: Path | str) -> Iterator[Path]:
    """The list as a file that can be read twice: itself, or a copy of standard input for as long as it is needed.

    Args:
        source: the file, or `-`.
    """
    if source != STDIN:
        yield Path(source)
        return
    with tempfile.TemporaryDirectory(prefix="replibatch-") as folder:
        copy = Path(folder, "standard input")
        with copy.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
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
