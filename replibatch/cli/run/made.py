"""The items that earlier runs have made into a folder, by its `results.jsonl`; memory does not grow with them."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from replibatch import contents
from replibatch.lists.disk_map import DiskMap
from replibatch.storage.containment import Place

HASH_BYTES = 16
KEY_START_BYTES = 7  # of a key: as many as a `DiskMap` takes as a number


class Made:
    """The items that are made: a container of their keys.

    Args:
        results: `results.jsonl`; files are relative to its folder.
        play: whether a stand-in makes the files of this run: what one made counts for such a run alone.
    """

    def __init__(self, results: Path, *, play: bool) -> None:
        self._results = results
        self._folder = results.parent
        self._play = play

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._keys = stack.enter_context(DiskMap())  # of items with a file
            self._owners = stack.enter_context(DiskMap())  # by file: the start of the key of who made it last
            self._lost = stack.enter_context(DiskMap())  # starts of keys: another item has replaced their file
            self._lines = stack.enter_context(DiskMap())  # by item and file: the place of the newest line
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __contains__(self, key: object) -> bool:
        return isinstance(key, bytes) and key in self._keys and key[:KEY_START_BYTES] not in self._lost

    def read(self, *, fresh: bool = False) -> int:
        """Read the results; returns their size in bytes.

        Args:
            fresh: nothing counts as made; the owners of files are noted all the same.

        Raises:
            OSError: whether a file is still there cannot be determined.
        """
        offset = 0
        if not os.path.lexists(self._results):
            return offset
        with Place.of(self._results).open() as file:
            for raw in file:
                if (line := _parsed(raw)) is not None:
                    self._note(line, offset, fresh=fresh)
                offset += len(raw)
        return offset

    def is_of(self, key: bytes, name: str, sha256: str) -> bool:
        """Whether a file is one that an item has made.

        Args:
            key: of the item.
            name: of the file, in the folder.
            sha256: of its content now, in hexadecimal.
        """
        for path in (name, str(self._folder / name)):
            offset = self._lines.get(_hash(key, path))
            if offset is None:
                continue
            with Place.of(self._results).open() as file:
                file.seek(offset)
                line = _parsed(file.readline()) or {}
            if self._play and not line.get("play"):
                return False  # a file that was paid for is not replaced by play
            files = line.get("files") or ()
            return any(each.get("path") == path and each.get("sha256") == sha256 for each in files)
        return False

    def _note(self, line: dict[str, Any], offset: int, *, fresh: bool) -> None:
        key, paths = _key(line["key"]), line["file_paths"]
        start = int.from_bytes(key[:KEY_START_BYTES].ljust(KEY_START_BYTES, b"\0"), "big")
        for path in paths if line["success"] or line.get("placeholder") else ():
            self._lines[_hash(key, path)] = offset
            owner = self._owners.get(_hash(path))
            if owner is not None and owner != start:
                self._lost[owner.to_bytes(KEY_START_BYTES, "big")] = 1
            self._owners[_hash(path)] = start
        counts = line["success"] and not fresh and (self._play or not line.get("play"))
        if counts and all(contents.is_there(self._folder / path) for path in paths):
            self._keys[key] = 1
            self._lost.discard(key[:KEY_START_BYTES])
        elif not line.get("play"):
            self._keys.discard(key)


def _parsed(raw: bytes) -> dict[str, Any] | None:
    """A line; None for one that a crash cut short, or that is none of ours."""
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or not line.keys() >= {"key", "success", "file_paths"}:
        return None
    paths = line["file_paths"]
    return (
        line
        if isinstance(paths, list) and all(isinstance(path, str) and "\0" not in path for path in paths)
        else None
    )


def _hash(*parts: bytes | str) -> bytes:
    joined = b"\0".join(part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part for part in parts)
    return hashlib.sha256(joined).digest()[:HASH_BYTES]


def _key(written: Any) -> bytes:
    try:
        return bytes.fromhex(written)
    except (TypeError, ValueError):
        return b""  # of no item
