"""How a JSON document holds its items: found in one pass, which keeps no items."""

from __future__ import annotations

from dataclasses import dataclass, field

from replibatch.lists.json_stream import JSONStream
from replibatch.lists.lines import Unreadable
from replibatch.lists.words import PROMPTS
from replibatch.routing.near import plain

WRAPPERS = ("prompts", "data", "items", "annotations", "requests")  # the one list inside a document
KEYS_SHOWN = 6
LEVELS = 2  # of a document above its items: the object, and the list in it
EXPECTED = 'expected: a list of texts or objects, an object of id → text or object, or one of them under "prompts"'


@dataclass
class Shape:
    """The members of an object, counted."""

    keys: list[str] = field(default_factory=list)  # the first few
    texts: int = 0
    objects: int = 0
    others: int = 0
    wrappers: list[str] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)  # the keys of others that hold something
    wrapped_object: str = ""  # the key of an object where a list usually is
    is_item: bool = False
    by_column: bool = False  # as pandas and datasets write a table by default

    def check(self) -> None:
        """Refuse a document that is no list of items.

        Raises:
            Unreadable: it is none.
        """
        if len(self.wrappers) > 1:
            raise Unreadable(f"the document holds lists under {' and '.join(self.wrappers)}; expected: only one")
        if self.wrappers or self.is_wrapped_object or self.is_item:
            return
        if self.by_column:
            raise Unreadable("the document is a table by columns; expected: by rows, as df.to_json(orient='records')")
        if not self.keys or self.others:
            found = ", ".join(self.keys) + (", …" if len(self.keys) == KEYS_SHOWN else "")
            hint = ""
            if len(self.lists) == 1:
                key = self.lists[0]
                hint = f"; to read the list under {key!r}: jq '.[\"{key}\"]' FILE | replibatch run - …"
            raise Unreadable(f"the document is an object with the keys {found or 'none'}; {EXPECTED}{hint}")

    @property
    def is_wrapped_object(self) -> bool:
        """Whether the items are the members of the one object in it."""
        return bool(self.wrapped_object) and self.objects == 1


def is_followed(stream: JSONStream) -> bool:
    """Whether another value follows the first."""
    skip(stream)
    return bool(stream.peek())


def skip(stream: JSONStream, levels: int = LEVELS) -> None:
    """Step over a value, however large: the levels below the list of items are small, and read whole."""
    first = stream.peek()
    if levels and first == "[":
        for _ in stream.elements():
            skip(stream, levels - 1)
    elif levels and first == "{":
        for _ in stream.members():
            skip(stream, levels - 1)
    else:
        stream.value()


def shape_of(stream: JSONStream) -> Shape:
    shape = Shape()
    for _, key in stream.members():
        if len(shape.keys) < KEYS_SHOWN:
            shape.keys.append(key)
        name = plain(key)
        first = stream.peek()
        if first == "[":
            count = 0
            for _ in stream.elements():
                skip(stream, 0)
                count += 1
            shape.others += 1
            if key.lower() in WRAPPERS:
                shape.wrappers += [key] if count else []
            elif name in PROMPTS:
                shape.by_column = True
            elif count and len(shape.lists) < KEYS_SHOWN:
                shape.lists.append(key)
            continue
        value = stream.value()
        if name == "prompts" and isinstance(value, str) and "\n" in value.strip():
            raise Unreadable(
                f"{key!r} is one text of {len(value.strip().splitlines())} lines; expected: a list of texts"
            )
        if first == "{" and key.lower() in WRAPPERS:
            shape.wrapped_object = key
        shape.texts += first == '"'
        shape.objects += first == "{"
        shape.others += first not in '"{'
        if name in PROMPTS and first == "{":
            shape.by_column = True
        if (name in PROMPTS and first == '"') or (key in ("body", "input") and first == "{"):
            shape.is_item = True
    return shape
