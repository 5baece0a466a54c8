"""Lists as JSON: one document, or a value a line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from replibatch.lists.json_shape import is_followed, shape_of, skip
from replibatch.lists.json_stream import JSONStream, about_json
from replibatch.lists.lines import Line, Mistake, Read, Unreadable
from replibatch.lists.records import Records
from replibatch.lists.words import PROPERTIES
from replibatch.routing.near import plain

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
            place = f" at column {error.colno}" if (reason := about_json(text, error)).endswith(")") else ""
            yield Mistake(file, number, f"{reason[:-1]}{place})" if place else reason)
        except (ValueError, RecursionError) as error:
            yield Mistake(file, number, f"not JSON ({error})")
        else:
            yield from _element(file, number, value, records)


def json_document(opened: Callable[[], Any], encoding: str, file: str, records: Records) -> Read:
    """One document, or several one after another, read as a stream.

    Args:
        opened: a context manager of the file's bytes; an object is read twice, as its keys show how to read it.
        encoding: of these bytes.
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
        several = is_followed(stream)
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


def _object(opened: Callable[[], Any], encoding: str, stream: JSONStream, file: str, records: Records) -> Read:
    """The items of a document that is an object."""
    with opened() as raw, _stream(raw, encoding) as ahead:
        shape = shape_of(ahead)
    shape.check()
    if shape.is_item and not shape.wrappers:
        yield from _element(file, stream.line, stream.value(), records)
        return
    if not shape.wrappers and not shape.is_wrapped_object:
        yield from _members(stream, file, records)
        return
    wrapper = shape.wrappers[0] if shape.wrappers else shape.wrapped_object
    for _, key in stream.members():
        if key != wrapper:
            records.beside += _names(stream, key)
        elif stream.peek() == "[":
            yield from _elements(stream, file, records)
        else:
            yield from _members(stream, file, records)


def _names(stream: JSONStream, key: str) -> list[str]:
    """Step over what stands beside the list; the names of single values in it, dotted for nested ones."""
    if stream.peek() == "{":
        return [f"{key}.{name}" for _, name in stream.members() if _is_single(stream)]
    return [key] if _is_single(stream) else []


def _is_single(stream: JSONStream) -> bool:
    """Step over a value; whether it is one, or a list of such ones."""
    if stream.peek() == "[":
        found = False
        for _ in stream.elements():
            found = found or stream.peek() not in "[{"
            skip(stream)
        return found
    is_single = stream.peek() != "{"
    skip(stream)
    return is_single


def _members(stream: JSONStream, file: str, records: Records) -> Read:
    for line, key in stream.members():
        value = stream.value()
        if isinstance(value, str) and plain(key) in PROPERTIES:
            yield Mistake(
                file,
                line,
                f"{key!r} is no id, and its text would be a prompt; expected: [ ] around the object, "
                "with its text under 'prompt'",
            )
        else:
            yield from _element(file, line, value, records, key)


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
    if stream.peek() == "[":
        raise Unreadable("each line is a list; expected: an object or a text a line", stream.line)
    if stream.peek():
        raise Unreadable(
            "not JSON: something follows the end of the list; expected: the list alone, or JSON lines", stream.line
        )


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 40 else f"{text[:40]}…"


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")
