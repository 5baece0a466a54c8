"""The output folder of a run: where its files end up, what was made before, and who else works on it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from replibatch import contents
from replibatch.cli.run.made import Made
from replibatch.errors import OutputPathError
from replibatch.requests import BatchResult, OutputFile
from replibatch.settings import Settings
from replibatch.storage.atomic import staged
from replibatch.storage.containment import Place, open_to_append
from replibatch.storage.names import refuse_settings, safe_key

if sys.platform != "win32":
    import fcntl

RESULTS = "results.jsonl"
GALLERY = "gallery.html"
LOCK = ".replibatch.lock"
STATE = ".replibatch.json"
GALLERY_FILES = "gallery_files"
OURS = frozenset({RESULTS, GALLERY, GALLERY_FILES, LOCK, STATE})
HASH_BYTES = 16
LARGEST_STATE_BYTES = 64 * 1024


class OutputFolder:
    """`run -o DIR`.

    Args:
        path: DIR.
        settings: say whether workers write to it themselves, or to a storage it is fetched from.
        play: whether a stand-in makes the files: they never count as made for Replicate's.

    Attributes:
        path: absolute.
        shown: as it was typed.
        identity: tells runs into different folders apart; kept in the folder, wherever it is moved.
        is_direct: workers write into it themselves.
        root: what the keys of its files start with, in the storage.
        results: the file with a line for each result.
        gallery: the page that shows them.
        read_to: the size of `results` when it was read for what had been made, in bytes; None if it was not.
    """

    def __init__(self, path: Path, settings: Settings, *, play: bool = False) -> None:
        self.path = Path(os.path.abspath(path))  # noqa: PTH100  # the same folder by any way to it, links as they are
        self.shown = str(path)
        self.play = play
        self.results = self.path / RESULTS
        self.gallery = self.path / GALLERY
        self.read_to: int | None = None
        kept, self._roots = self._state()
        self.identity = kept or secrets.token_hex(HASH_BYTES)
        self._checked: set[str] = set()
        embedded = settings.redis_url is None
        self.is_direct = embedded and settings.storage_url is None
        self.root = str(self.path) if self.is_direct else self._prefix_under(settings.storage_url)

    def _state(self) -> tuple[str | None, list[str]]:
        """What the folder says of itself: its identity, and what the keys of its files have started with so far."""
        try:
            with Place(self.path, STATE).open() as file:
                state = json.loads(file.read(LARGEST_STATE_BYTES))
            return str(state["id"]), [str(root) for root in state["roots"]]
        except (OSError, OutputPathError, ValueError, KeyError, TypeError, RecursionError):
            return None, []

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
        """Where a file is in the end, by its key in the storage, also by one from before the folder was moved.

        Raises:
            ValueError: the key is of another folder.
        """
        for root in (self.root, *self._roots):
            with suppress(ValueError):
                return Place(self.path, Path(stored).relative_to(root).as_posix())
        raise ValueError(stored)

    def with_files_here(self, result: BatchResult) -> BatchResult:
        """A result with its files' places in this folder, even if workers knew the folder by an earlier place."""
        if all(Path(file.path).is_relative_to(self.root) for file in (*result.files, *result.files_of_steps())):
            return result
        return result.with_files(self._brought_here)

    def _brought_here(self, file: OutputFile) -> OutputFile:
        path, stored = self.place_of(file.path).path, Path(file.path)
        if not path.exists() and stored.is_file() and contents.sha256(stored) == file.sha256:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(stored, path)
        return replace(file, path=str(path))

    def create(self) -> None:
        """Make it, and see that it can be written.

        Raises:
            OutputPathError: it cannot.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with open_to_append(self.results) as file:
                if file.seek(0, os.SEEK_END) and not _ends_with_newline(file):
                    file.write(b"\n")  # a line cut short by a crash stays unreadable
            self._keep_state()
        except OSError as error:
            raise OutputPathError(
                f"-o {self.path}: {error.strerror}; allowed: a folder that can be written"
            ) from None

    def _keep_state(self) -> None:
        """Write down the identity; where another process was quicker, take over what it wrote."""
        place = Place(self.path, STATE)
        kept, roots = self._state()
        if kept is not None and self.root in roots:
            self.identity = kept
            return
        with staged(place) as stage:
            told = {"id": kept or self.identity, "roots": [*roots, self.root]}
            stage.path.write_text(json.dumps(told), "utf-8")
            stage.commit(overwrite=kept is not None)
        kept, self._roots = self._state()
        self.identity = kept or self.identity

    def gallery_is_current(self) -> bool:
        """Whether the page shows what there is: of many results it takes a while to make."""
        return self.gallery.exists() and self.gallery.stat().st_mtime_ns >= self.results.stat().st_mtime_ns

    @contextmanager
    def made(self, *, fresh: bool = False) -> Iterator[Made]:
        """The items that `results.jsonl` has as made, and that still have their files.

        Args:
            fresh: count no result made before.

        Raises:
            OSError: whether a file is still there cannot be determined.
        """
        with Made(self.results, play=self.play) as made:
            self.read_to = made.read(fresh=fresh)
            yield made

    @contextmanager
    def occupied(self) -> Iterator[bool]:
        """Be seen at work on this folder; yields whether no other process is.

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


def _ends_with_newline(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
