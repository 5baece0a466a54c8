"""A folder as storage: a local one, or one that every worker's host has mounted."""

from __future__ import annotations

import copy
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from replibatch import contents
from replibatch.errors import OutputPathError, ReferenceImageError, SettingsError
from replibatch.routing.references import KEPT
from replibatch.storage.atomic import Staged, staged
from replibatch.storage.containment import Place
from replibatch.storage.inputs import write_input
from replibatch.storage.names import IDENTITY, PRIVATE_FOLDER

MARKER_BYTES = 128


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
        self._inputs_root = inputs_root or self._root
        self._inputs = (() if inputs_root else (PRIVATE_FOLDER, "inputs")) + ((account,) if account else ())
        self._marker = Place(self._root, IDENTITY)
        self._absolute_ok = absolute_ok
        self._within: Path | None = None
        self.where = str(self._root)

    def within(self, folder: str) -> Folder:
        """As `Storage.within`."""
        contained = copy.copy(self)
        contained._within = Path(folder) if folder else None
        return contained

    def staging(self, key: str) -> AbstractContextManager[Staged]:
        """As `Storage.staging`."""
        place = self._place(key)
        place.check()
        return staged(place)

    def chunks(self, key: str) -> Iterator[bytes]:
        """As `Storage.chunks`."""
        with self._place(key).open() as file:
            while chunk := file.read(contents.CHUNK_BYTES):
                yield chunk

    def fetch(self, key: str, destination: Path | Place) -> None:
        """As `Storage.fetch`."""
        target = destination if isinstance(destination, Place) else Place.of(destination)
        with self._place(key).open() as source:
            with suppress(FileNotFoundError):
                if os.path.samestat(target.path.lstat(), os.fstat(source.fileno())):
                    return
            with staged(target) as stage:
                with stage.path.open("xb") as copied:
                    shutil.copyfileobj(source, copied, contents.CHUNK_BYTES)
                stage.commit()

    def keep_input(self, content: Iterable[bytes], extension: str) -> str:
        """As `Storage.keep_input`."""
        with staged(self._input("input")) as stage:
            stage.name = name = write_input(stage.path, content, extension)
            stage.commit()  # over an equal one, which is then as young as this one
        return f"file:{name}"

    @contextmanager
    def open_input(self, reference: str) -> Iterator[Path]:
        """As `Storage.open_input`."""
        with ExitStack() as stack:
            try:
                match = KEPT.fullmatch(reference)
                place = self._input(match[1] if match else "-")
                folder = stack.enter_context(place.folder())
                os.close(folder.open(place.name, os.O_RDONLY))
            except (FileNotFoundError, OutputPathError):
                raise ReferenceImageError(
                    f"the reference image {reference!r} is not in {self._input('').path}; "
                    "allowed: a storage that producers and workers share"
                ) from None
            yield folder.writable_path(place.name)

    def remove_inputs(self, unused_for_seconds: float) -> int:
        """As `Storage.remove_inputs`."""
        oldest, removed = time.time() - unused_for_seconds, 0
        with suppress(FileNotFoundError), self._input("input").folder() as folder:
            for name in folder.names():
                if KEPT.fullmatch(f"file:{name}") and folder.lstat(name).st_mtime < oldest:
                    folder.unlink(name)
                    removed += 1
        return removed

    def identity(self) -> str | None:
        """As `Storage.identity`: what a file of the folder says."""
        try:
            with self._marker.open() as file:
                return file.read(MARKER_BYTES).decode("ascii", "replace")
        except FileNotFoundError:
            return None

    def mark(self, identity: str) -> str:
        """As `Storage.mark`."""
        if (found := self.identity()) is not None:
            return found
        with staged(self._marker) as stage:
            stage.path.write_text(identity)
            stage.commit(overwrite=False)
        return self.identity() or identity

    def free_bytes(self) -> int | None:
        """As `Storage.free_bytes`."""
        return shutil.disk_usage(self._root).free

    def check_writable(self) -> None:
        """As `Storage.check_writable`."""
        try:
            with staged(Place(self._root, "writable")) as stage:
                stage.path.write_bytes(b"yes")
        except OSError as error:
            raise SettingsError(
                f"the storage {self.where!r} cannot be written: {error.strerror}; "
                "allowed: a folder that the workers may write to"
            ) from error

    def _place(self, key: str) -> Place:
        """Where a key's file is; no link below the storage is followed."""
        path = Path(key)
        if not path.is_absolute():
            return Place(self._root, key)
        if not self._absolute_ok:
            raise OutputPathError(f"the output {key!r} is outside the storage {self.where!r}")
        if self._within is None:
            return Place.of(path)
        if not path.is_relative_to(self._within):
            raise OutputPathError(f"the output {key!r} is outside {str(self._within)!r}")
        return Place(self._within, path.relative_to(self._within).as_posix())

    def _input(self, name: str) -> Place:
        """Where a reference image is kept."""
        return Place(self._inputs_root, "/".join(filter(None, (*self._inputs, name))))
