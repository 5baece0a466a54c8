"""The files among a model's own inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from replibatch.catalog import InputSpec
from replibatch.catalog.values import is_exactly, listed
from replibatch.errors import ReferenceImageError
from replibatch.routing.carry import REFERENCE_NAMES
from replibatch.routing.references import is_address, places

FILE_WORDS = ("image", "mask", "audio", "video", "file", "frame", "photo", "picture")


def files_of(name: str, value: Any, spec: InputSpec | None, folder: Path, *, known: bool) -> Any:
    """An input with its files as absolute paths, URLs and data URIs; any other input as it is.

    Args:
        name: the input's.
        value: as given.
        spec: what the model takes for it; None where it has no such input, or that is not known.
        folder: where relative paths start.
        known: whether all inputs of the model are known.

    Raises:
        ReferenceImageError: naming the input, the value found and the values allowed.
    """
    if spec is None:
        return value if known else _perhaps_files(name, value, folder)
    if not spec.is_file or value is None:
        return value
    if any(not each.is_file for each in spec.any_of) and not _is_there(value, folder):
        return value
    found = places(name, listed(value), folder)
    if spec.takes_files_as_list or (spec.any_of and isinstance(value, list | tuple)):
        return found
    if len(found) != 1:
        raise ReferenceImageError(f"{name} holds {len(found)} files; allowed: one")
    return found[0]


def takes_files(name: str, spec: InputSpec | None) -> bool:
    """Whether the values given under a name are files: by its spec, or by the name alone."""
    return spec.is_file if spec else name in REFERENCE_NAMES or any(word in name for word in FILE_WORDS)


def _perhaps_files(name: str, value: Any, folder: Path) -> Any:
    """An input that nothing is known of: files where its name says so, and they are there."""
    if not takes_files(name, None) or not _is_there(value, folder):
        return value
    found = places(name, value, folder)
    return found if isinstance(value, list | tuple) else found[0]


def _is_there(value: Any, folder: Path) -> bool:
    """Whether the value holds only files: on this machine, behind an address, or in a data URI."""
    items = list(value) if isinstance(value, list | tuple) else [value]
    return bool(items) and all(_is_file(item, folder) for item in items)


def _is_file(item: Any, folder: Path) -> bool:
    if not is_exactly("string", item):
        return not is_exactly("number", item) and not isinstance(item, bool | dict | list | None)
    try:
        return is_address(item) or (folder / item).is_file()
    except (OSError, ValueError):
        return False
