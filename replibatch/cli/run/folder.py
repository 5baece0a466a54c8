"""The output folder of a run: where its files end up, what was made before, and who else works on it."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from replibatch import contents
from replibatch.errors import OutputPathError
from replibatch.lists.disk_map import DiskMap
from replibatch.settings import Settings
from replibatch.storage.containment import Place, open_to_append
from replibatch.storage.names import refuse_settings, safe_key

if sys.platform != "win32":
    import fcntl

RESULTS = "results.jsonl"
GALLERY = "gallery.html"
LOCK = ".replibatch.lock"
GALLERY_FILES = "gallery_files"
OURS = frozenset({RESULTS, GALLERY, GALLERY_FILES, LOCK})


class OutputFolder:
    """`run -o DIR`.

    Args:
        path: DIR.
        settings: say whether workers write to it themselves, or to a storage it is fetched from.

    Attributes:
        path: absolute.
        identity: tells runs into different folders apart.
        is_direct: workers write into it themselves.
        root: what the keys of its files start with, in the storage.
        results: the file with a line for each result.
        gallery: the page that shows them.
        read_to: the size of `results` when it was read for what had been made, in bytes; None if it was not.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = Path(os.path.abspath(path))  # noqa: PTH100  # the same folder by any way to it, links as they are
        self.results = self.path / RESULTS
        self.gallery = self.path / GALLERY
        self.read_to: int | None = None
        self._checked: set[str] = set()
        self.identity = hashlib.sha256(str(self.path).encode()).hexdigest()[:32]
        embedded = settings.redis_url is None
        self.is_direct = embedded and settings.storage_url is None
        self.root = str(self.path) if self.is_direct else self._prefix_under(settings.storage_url)

    def _prefix_under(self, storage_url: str | None) -> str:
        """Where the files are in the storage: in this very folder, if it lies in there."""
        if storage_url is None or len(urlsplit(storage_url).scheme) <= 1:
            root = Path(storage_url or ".").expanduser().absolute()
            if self.path != root and self.path.is_relative_to(root) and ".." not in self.path.parts:
                return self.path.relative_to(root).as_posix()
        return f"runs/{self.identity}"

    def asked_at(self, name: str) -> str:
        """What a request asks for, so that its file ends up as `name` in this folder.

        Raises:
            OutputPathError: it would leave the folder, or is a file that replibatch writes there.
        """
        key = safe_key(name)
        if key.casefold() in OURS or key.partition("/")[0].casefold() == GALLERY_FILES:
            raise OutputPathError(f"the output {name!r}: replibatch writes that file; allowed: another name")
        refuse_settings(key)
        folder = key.rpartition("/")[0]
        if folder not in self._checked:  # before anything is paid for
            Place(self.path, key).check()
            self._checked.add(folder)
        return f"{self.root}/{key}"

    def place_of(self, stored: str) -> Place:
        """Where a file is in the end, by its key in the storage."""
        return Place(self.path, str(Path(stored).relative_to(self.root)))

    def create(self) -> None:
        """Make it, and see that it can be written.

        Raises:
            OutputPathError: it cannot.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with open_to_append(self.results) as file:
                if file.seek(0, os.SEEK_END) and not _ends_with_newline(file):
                    file.write(b"\n")  # a line cut short by a crash stays one that nobody can read
        except OSError as error:
            raise OutputPathError(
                f"-o {self.path}: {error.strerror}; allowed: a folder that can be written"
            ) from None

    def gallery_is_current(self) -> bool:
        """Whether the page shows what there is: of many results it takes a while to make."""
        return self.gallery.exists() and self.gallery.stat().st_mtime_ns >= self.results.stat().st_mtime_ns

    @contextmanager
    def made(self, *, fresh: bool = False) -> Iterator[DiskMap]:
        """The keys of the items that `results.jsonl` has as made, and whose files are still there.

        Args:
            fresh: none of them counts.

        Raises:
            OSError: whether a file is still there cannot be told.
        """
        with DiskMap() as made:
            for line in () if fresh else self._lines():
                key = _key(line["key"])
                if line["success"] and all(contents.is_there(path) for path in line["file_paths"]):
                    made[key] = 1
                else:
                    made.discard(key)
            yield made

    def _lines(self) -> Iterator[dict[str, Any]]:
        """Its lines that can be read."""
        self.read_to = 0
        if not os.path.lexists(self.results):
            return
        with Place.of(self.results).open() as file:
            for raw in file:
                self.read_to += len(raw)
                try:
                    line = json.loads(raw)
                except (ValueError, RecursionError):
                    continue
                if isinstance(line, dict) and _is_result(line):
                    yield line

    @contextmanager
    def occupied(self) -> Iterator[bool]:
        """Be seen at work on this folder; tells whether nobody else is.

        The first one in holds the lock alone while it makes order, and shares it as soon as `settle_in` is called.
        """
        if sys.platform == "win32":  # no lock there: two at once make nothing twice, but one may put off the other
            yield True
            return
        with Place(self.path, LOCK).folder() as folder:
            self._lock = folder.open(LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                alone = True
            except BlockingIOError:
                fcntl.flock(self._lock, fcntl.LOCK_SH)
                alone = False
            yield alone
        finally:
            os.close(self._lock)

    def settle_in(self) -> None:
        """Let others in, who will follow what this process does."""
        if sys.platform != "win32":
            fcntl.flock(self._lock, fcntl.LOCK_SH)


def _is_result(line: dict[str, Any]) -> bool:
    """Whether it has what a result has: the file may be anybody's."""
    paths = line.get("file_paths")
    return (
        line.keys() >= {"key", "success"}
        and isinstance(paths, list)
        and all(isinstance(path, str) and "\0" not in path for path in paths)
    )


def _key(written: str) -> bytes:
    try:
        return bytes.fromhex(written)
    except (TypeError, ValueError):
        return b""  # nobody's


def _ends_with_newline(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
