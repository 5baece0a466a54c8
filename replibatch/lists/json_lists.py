"""Lists as JSON: one document, or a value a line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

from replibatch.lists.json_stream import JSONStream
from replibatch.lists.lines import Line, Mistake, Read, Unreadable
from replibatch.lists.records import Records
from replibatch.lists.words import PROMPTS
from replibatch.routing.near import plain

WRAPPERS = ("prompts", "data", "items", "annotations", "requests")  # the one list inside a document
KEYS_SHOWN = 6
LEVELS = 2  # of a document above its items: the object, and the list in it
EXPECTED = 'expected: a list of texts or objects, an object of id → text or object, or one of them under "prompts"'

Opened = Callable[[], IO[bytes]]


def json_lines(numbered: Iterable[tuple[int, str]], file: str, records: Records, comments: str | None) -> Read:
    """A value a line: objects or texts.

    Args:
        numbered: the lines.
        file: the list's name.
        records: turns objects into fields.
        comments: what begins a line that is left out.
    """
    for number, raw in numbered:
        text = raw.strip()
        if not text or (comments and text.startswith(comments)):
            continue
        try:
            value = json.loads(text, parse_constant=_refuse_constant)
        except json.JSONDecodeError as error:
            yield Mistake(file, number, f"not JSON ({error.msg} at column {error.colno})")
        except (ValueError, RecursionError) as error:
            yield Mistake(file, number, f"not JSON ({error})")
        else:
            yield from _element(file, number, value, records)


def json_document(opened: Callable[[], Any], encoding: str, file: str, records: Records) -> Read:
    """One document, or several one after another, read as a stream.

    Args:
        opened: a context manager of the file's bytes; it is read twice where what it is shows at its end only.
        encoding: of them.
        file: the list's name.
        records: turns objects into fields.

    Raises:
        Unreadable: it is no JSON, or holds no list.
    """
    with opened() as raw, _stream(raw, encoding) as stream:
        if stream.peek() == "[":
            yield from _elements(stream, file, records)
            _check_end(stream)
            return
        several = _several(stream)
    with opened() as raw, _stream(raw, encoding) as stream:
        if several:
            while stream.peek():
                line = stream.line
                yield from _element(file, line, stream.value(), records)
        else:
            yield from _object(opened, encoding, stream, file, records)


@contextmanager
def _stream(raw: IO[bytes], encoding: str) -> Iterator[JSONStream]:
    stream = JSONStream(raw, encoding)
    try:
        yield stream
    finally:
        stream.close()


@dataclass
class _Shape:
    """What an object holds, counted."""

    keys: list[str] = field(default_factory=list)  # the first few
    texts: int = 0
    objects: int = 0
    others: int = 0
    wrappers: list[str] = field(default_factory=list)
    is_item: bool = False
    by_column: bool = False  # as pandas and datasets write a table unless told otherwise


def _several(stream: JSONStream) -> bool:
    """Whether another value follows the first."""
    _skip(stream)
    return bool(stream.peek())


def _skip(stream: JSONStream, levels: int = LEVELS) -> None:
    """Step over a value, however large: the levels below the list of items are small, and read whole."""
    first = stream.peek()
    if levels and first == "[":
        for _ in stream.elements():
            _skip(stream, levels - 1)
    elif levels and first == "{":
        for _ in stream.members():
            _skip(stream, levels - 1)
    else:
        stream.value()


def _shape(stream: JSONStream) -> _Shape:
    shape = _Shape()
    for _, key in stream.members():
        if len(shape.keys) < KEYS_SHOWN:
            shape.keys.append(key)
        name = plain(key)
        first = stream.peek()
        if first == "[":
            count = 0
            for _ in stream.elements():
                _skip(stream, 0)
                count += 1
            shape.others += 1
            if key.lower() in WRAPPERS:
                shape.wrappers += [key] if count else []
            elif name in PROMPTS:
                shape.by_column = True
            continue
        stream.value()
        shape.texts += first == '"'
        shape.objects += first == "{"
        shape.others += first not in '"{'
        if name in PROMPTS and first == "{":
            shape.by_column = True
        if (name in PROMPTS and first == '"') or (key in ("body", "input") and first == "{"):
            shape.is_item = True
    return shape


def _object(opened: Callable[[], Any], encoding: str, stream: JSONStream, file: str, records: Records) -> Read:
    """The items of a document that is an object."""
    with opened() as raw, _stream(raw, encoding) as ahead:
        shape = _shape(ahead)
    if len(shape.wrappers) > 1:
        raise Unreadable(f"the document holds lists under {' and '.join(shape.wrappers)}; expected: one of them")
    if shape.wrappers:
        for line, key in stream.members():
            if key != shape.wrappers[0]:
                _skip(stream)
            elif stream.peek() == "[":
                yield from _elements(stream, file, records)
            else:
                yield from _element(file, line, stream.value(), records)
    elif shape.is_item:
        yield from _element(file, stream.line, stream.value(), records)
    elif shape.by_column:
        raise Unreadable("the document is a table by columns; expected: by rows, as df.to_json(orient='records')")
    elif shape.keys and shape.others == 0 and (shape.texts == 0 or shape.objects == 0):
        for line, key in stream.members():
            yield from _element(file, line, stream.value(), records, key)
    else:
        found = ", ".join(shape.keys) + (", …" if len(shape.keys) == KEYS_SHOWN else "")
        raise Unreadable(f"the document is an object with the keys {found or 'none'}; {EXPECTED}")


def _elements(stream: JSONStream, file: str, records: Records) -> Read:
    for line in stream.elements():
        yield from _element(file, line, stream.value(), records)


def _element(file: str, number: int, value: Any, records: Records, name: str | None = None) -> Read:
    """One text or object as a line.

    Args:
        name: the key it stands under, which is its id.
    """
    if isinstance(value, str):
        yield Line(file, number, {"prompt": value} if name is None else {"id": name, "prompt": value})
    elif isinstance(value, dict):
        fields = records.fields(value, number)
        if fields is not None:
            yield Line(file, number, fields if name is None else {"id": name, **fields})
    else:
        yield Mistake(file, number, f"the element is {_shown(value)!r}; expected: a text, or an object with a prompt")


def _check_end(stream: JSONStream) -> None:
    if stream.peek():
        raise Unreadable("not JSON: something follows the end of the list", stream.line)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 40 else f"{text[:40]}…"


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")
