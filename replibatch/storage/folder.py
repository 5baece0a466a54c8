"""A folder as storage: a local one, or one that every worker's host has mounted."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from replibatch import contents
from replibatch.errors import OutputPathError, ReferenceImageError, SettingsError
from replibatch.routing.references import KEPT
from replibatch.storage.atomic import Staged, staged
from replibatch.storage.inputs import write_input
from replibatch.storage.names import IDENTITY, PRIVATE_FOLDER


class Folder:
    """Outputs and reference images in a folder.

    Args:
        root: where keys are relative to.
        account: the folder of the account's reference images among those of others; empty where there are no others.
        inputs_root: where reference images are kept; None for `.replibatch/inputs` in the root.
        absolute_ok: whether keys may be absolute paths anywhere; otherwise nothing leaves the root, by `..` or by
            a symbolic link.
    """

    def __init__(
        self, root: Path, *, account: str = "", inputs_root: Path | None = None, absolute_ok: bool = False
    ) -> None:
        self._root = root.absolute()
        self._inputs = (inputs_root or self._root / PRIVATE_FOLDER / "inputs") / account
        self._marker = self._root / IDENTITY
        self._absolute_ok = absolute_ok
        self.where = str(self._root)

    def staging(self, key: str) -> AbstractContextManager[Staged]:
        """As `Storage.staging`."""
        return staged(self._place(key))

    def chunks(self, key: str) -> Iterator[bytes]:
        """As `Storage.chunks`."""
        return contents.chunks(self._place(key))

    def fetch(self, key: str, destination: Path) -> None:
        """As `Storage.fetch`."""
        source = self._place(key)
        if destination.exists() and source.samefile(destination):
            return
        with staged(destination) as stage:
            shutil.copyfile(source, stage.path)
            stage.commit()

    def keep_input(self, content: Iterable[bytes], extension: str) -> str:
        """As `Storage.keep_input`."""
        with staged(self._inputs / "input") as stage:
            name = write_input(stage.path, content, extension)
            stage.target = self._inputs / name
            stage.commit()  # over an equal one, which is then as young as this one
        return f"file:{name}"

    @contextmanager
    def open_input(self, reference: str) -> Iterator[Path]:
        """As `Storage.open_input`."""
        match = KEPT.fullmatch(reference)
        if not match or not (path := self._inputs / match[1]).is_file():
            raise ReferenceImageError(
                f"the reference image {reference!r} is not in {self._inputs}; "
                "allowed: a storage that producers and workers share"
            )
        yield path

    def remove_inputs(self, unused_for_seconds: float) -> int:
        """As `Storage.remove_inputs`."""
        oldest, removed = time.time() - unused_for_seconds, 0
        with suppress(FileNotFoundError), os.scandir(self._inputs) as entries:
            for entry in entries:
                if KEPT.fullmatch(f"file:{entry.name}") and entry.stat().st_mtime < oldest:
                    Path(entry).unlink(missing_ok=True)
                    removed += 1
        return removed

    def identity(self) -> str | None:
        """As `Storage.identity`: what a file of the folder says."""
        try:
            return self._marker.read_text()
        except FileNotFoundError:
            return None

    def mark(self, identity: str) -> str:
        """As `Storage.mark`."""
        if not self._marker.exists():
            with staged(self._marker) as stage:
                stage.path.write_text(identity)
                stage.commit(overwrite=False)
        return self._marker.read_text()

    def free_bytes(self) -> int | None:
        """As `Storage.free_bytes`."""
        return shutil.disk_usage(self._root).free

    def check_writable(self) -> None:
        """As `Storage.check_writable`."""
        try:
            with staged(self._root / "writable") as stage:
                stage.path.write_bytes(b"yes")
        except OSError as error:
            raise SettingsError(
                f"the storage {self.where!r} cannot be written: {error.strerror}; "
                "allowed: a folder that the workers may write to"
            ) from error

    def _place(self, key: str) -> Path:
        """Where a key's file is, looked at after every symbolic link on the way."""
        place = self._root / key
        if not self._absolute_ok:
            folder = place.parent
            inside = folder == self._root or folder.resolve().is_relative_to(self._root.resolve())
            if not inside or place.name in ("", ".."):
                raise OutputPathError(f"the output {key!r} is outside the storage {self.where!r}")
        if place.is_dir():
            raise OutputPathError(f"the output {key!r} is a folder; allowed: a file's path")
        return place
