"""`results.jsonl`: a whole line for each result, there as soon as it is known, once however many runs follow it."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from replibatch.requests import BatchResult
from replibatch.storage.containment import open_to_append

if sys.platform != "win32":
    import fcntl


class ResultsFile:
    """Appends results, unless another run that makes the same list has done so.

    Args:
        path: of the file.
        since: its size in bytes when earlier results were read: another process wrote any lines added since then.
            None for its size now.
        play: whether a stand-in makes the files.
    """

    def __init__(self, path: Path, since: int | None = None, *, play: bool = False) -> None:
        self._folder = path.parent
        self._play = play
        self._file = open_to_append(path)
        self._read_to = self._size() if since is None else since
        self._others: set[bytes] = set()  # what other runs have written, and this one is still to hear of

    def add(self, result: BatchResult, index: int, key: bytes) -> dict[str, Any]:
        """Append one; returns its line, as written by whomever."""
        line = {"index": index, "key": key.hex(), **({"play": True} if self._play else {}), **result.to_json()}
        this = _identity(line)
        with self._alone():
            self._read_others()
            if this in self._others:
                self._others.discard(this)
                return line
            self._file.write(json.dumps(self._movable(line), ensure_ascii=False).encode() + b"\n")
            self._read_to = self._size()
        return line

    def _movable(self, line: dict[str, Any]) -> dict[str, Any]:
        """A line with the paths of its files relative to the folder, which may be moved."""

        def relative(path: str) -> str:
            whole = Path(path)
            return whole.relative_to(self._folder).as_posix() if whole.is_relative_to(self._folder) else path

        files = [{**file, "path": relative(file["path"])} for file in line["files"]]
        steps = [
            {**step, "files": [{**file, "path": relative(file["path"])} for file in step["files"]]}
            for step in line["steps"]
        ]
        return {**line, "files": files, "file_paths": [file["path"] for file in files], "steps": steps}

    def close(self) -> None:
        """No more will come."""
        self._file.close()

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def _read_others(self) -> None:
        size = self._size()
        if size == self._read_to:
            return
        self._file.seek(self._read_to)
        for raw in self._file.read(size - self._read_to).splitlines():
            try:
                self._others.add(_identity(json.loads(raw)))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                continue  # cut short by a crash
        self._read_to = size

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other run writes. Windows has no such lock: there two runs at once may write a line each."""
        if sys.platform == "win32":
            yield
            return
        fcntl.flock(self._file.fileno(), fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_UN)


def _identity(line: dict[str, Any]) -> bytes:
    """What makes two lines the same result: the item, and the predictions it took."""
    told = [line["key"], line["state"], *(attempt["prediction_id"] for attempt in line["attempts"])]
    return hashlib.sha256(json.dumps(told).encode()).digest()[:16]
