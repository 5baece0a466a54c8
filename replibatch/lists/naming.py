"""Names of the files that a list is made into."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from replibatch.catalog.prices import images_asked_for
from replibatch.errors import RequestError
from replibatch.routing import Routed
from replibatch.storage.names import numbered, shard, slug

CASELESS = sys.platform in ("darwin", "win32")  # whose disks take A.png for a.png
MOST_OUTPUTS = 64  # of one item whose names are looked at
LONGEST_PART = 80  # characters of a value in a name
KEY_CHARACTERS = 8
_FIELD = re.compile(r"\{([^{}]+)\}")
_UNFIT = re.compile(r"[^\w.,=+-]+")
_EXTENSION = re.compile(r"\.([A-Za-z0-9]{2,5})$")


@dataclass(frozen=True, slots=True)
class Naming:
    """What the name of one item's file may be made of.

    Attributes:
        index: its place in the list, from 0.
        prompt: its text.
        key: what tells it from all others, in hexadecimal.
        extension: without its dot.
        model: without its owner.
        id: the list's own; None where it has none.
        sample: its number.
        axes: what tells it from the other items of its line: the model, varied inputs, the sample.
        values: inputs and columns by name, for `--name`.
    """

    index: int
    prompt: str
    key: str
    extension: str
    model: str
    id: str | None = None
    sample: int = 1
    axes: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


def default_name(item: Naming) -> str:
    """The id or the place and the first words of the prompt, the axes, and a part of the key."""
    first = [fit(item.id)] if item.id else [f"{item.index + 1:04d}", slug(item.prompt)]
    parts = [*first, *item.axes, item.key[:KEY_CHARACTERS]]
    name = "-".join(part for part in parts if part) + "." + item.extension
    folder = shard(item.index)
    return f"{folder}/{name}" if folder else name


def with_axes(name: str, axes: tuple[str, ...]) -> str:
    """A name that the list gives, with what tells the items of one line apart."""
    if not axes:
        return name
    path = PurePosixPath(name)
    return str(path.with_name("-".join([path.stem, *axes]) + path.suffix))


def fixed_extension(pattern: str) -> str:
    """The extension that a pattern ends with; empty where it leaves it open."""
    found = _EXTENSION.search(pattern)
    return found[1] if found else ""


def named_by(pattern: str, item: Naming) -> str:
    """A name by a pattern such as `{id}/{model}-{seed}.{ext}`.

    Raises:
        RequestError: it names a field that this item has not.
    """
    known: dict[str, Any] = {
        **item.values,
        "index": f"{item.index + 1:04d}",
        "n": item.sample,
        "id": item.id,
        "prompt": slug(item.prompt),
        "model": item.model,
        "ext": item.extension,
        "key": item.key[:KEY_CHARACTERS],
    }

    def value(match: re.Match[str]) -> str:
        found = known.get(match[1])
        if found is None or found == "":
            there = ", ".join(name for name, each in known.items() if each not in (None, ""))
            raise RequestError(f"{match[0]} in --name has no value here; expected: one of {there}")
        return fit(str(found))

    name = _FIELD.sub(value, pattern)
    return name if pattern.endswith("{ext}") or fixed_extension(pattern) else f"{name}.{item.extension}"


def file_names(name: str, routed: Routed) -> list[str]:
    """The names that the files of one item may get: its own, and the numbered ones where it asks for several.

    Args:
        name: the item's.
        routed: its last step.
    """
    count = min(int(images_asked_for(routed.model, routed.inputs)), MOST_OUTPUTS)
    return [name] if count < 2 else [name, *numbered(name, count)]


def as_disks_see(name: str) -> str:
    """A name as the disks of this system tell it from others."""
    name = str(PurePosixPath(name))
    return unicodedata.normalize("NFC", name).casefold() if CASELESS else name


def fit(value: str) -> str:
    """A value as a part of a file's name."""
    return _UNFIT.sub("-", value).strip("-.")[:LONGEST_PART].rstrip("-.") or "x"
