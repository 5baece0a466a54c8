"""From a list to its items: each is well-formed, and told from all others."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from replibatch.errors import RequestError
from replibatch.lists.disk_map import DiskMap
from replibatch.lists.formats import OWN, Fields, Format, Mistakes, Unreadable, raw_lines, records
from replibatch.requests import BatchRequest

Source = Path | str | IO[bytes]

STDIN = "-"
FORMATS: dict[str, Format] = {".txt": "txt", ".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
SPOOLED_BYTES = 8 << 20  # of a piped list, before it goes to a temporary file
ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:[/\\]")


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


def read(
    source: Source,
    *,
    default_model: str | None = None,
    defaults: Mapping[str, Any] | None = None,
    check: Callable[[ManifestLine], object] | None = None,
) -> Iterator[ManifestLine]:
    """Read a list of prompts, line by line; its format is that of its extension, or of its first line without one.

    A mistake does not end the reading: what is well-formed is yielded, and all mistakes are raised together at the
    end. To know before anything is spent, read the list to its end once, then again.

    Args:
        source: the file, `-` for standard input, or what `rereadable` gives.
        default_model: for lines that name none.
        defaults: model inputs for lines that do not set them.
        check: looks at each line, and raises a `RequestError` for one that will not do.

    Raises:
        ManifestError: with every mistake, by line.
        RequestError: the list cannot be read, or its format is not known.
    """
    mistakes = Mistakes(_name(source))
    with DiskMap() as seen, _opened(source) as (file, folder):
        try:
            for number, fields in records(raw_lines(file), _format(source), mistakes):
                try:
                    line = _line(number, fields, default_model, defaults or {}, folder)
                    _check_unique(line, seen)
                    if check is not None:
                        check(line)
                except RequestError as error:
                    mistakes.add(number, str(error))
                else:
                    yield line
        except Unreadable as error:
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
