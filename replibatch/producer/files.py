"""The files of a process's requests: those that go along with them, and those that come back."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath

from replibatch import contents
from replibatch.data_uris import decoded, extension_of
from replibatch.errors import OutputPathError, StorageError
from replibatch.requests import BatchResult, OutputFile
from replibatch.routing.references import is_local
from replibatch.settings import Settings
from replibatch.storage.containment import Place
from replibatch.storage.names import NAME_BYTES, safe_key
from replibatch.storage.shared import storage_for
from replibatch.storage.stored import StoredFile

INLINE_CHARACTERS = 8192  # a longer data URI travels as a file
KEPT_ANEW_SECONDS = 3600.0  # a file still in use is kept again, so that it is never the oldest
# What systems take is 1,024 and 4,096; a file that is being written has a longer name.
PATH_BYTES = 980 if sys.platform == "darwin" else 4050
REMEMBERED = 4096  # files; a process may see any number


class Files:
    """One process's way to the storage, and the places of its own that files come from and go to.

    Args:
        settings: where outputs land.
        embedded: whether relative names are relative to this process's working directory.
        check_storage: called before the storage is given a file; raises where no worker would find it there.

    Attributes:
        storage: the process's way to it.
        home: where files with a relative name are brought; None for the working directory.
    """

    home: Path | None = None

    def __init__(self, settings: Settings, *, embedded: bool, check_storage: Callable[[], None]) -> None:
        self._absolute = embedded and settings.storage_url is None
        self.storage = storage_for(settings, embedded=embedded)
        self._check_storage = check_storage
        self._elsewhere: dict[str, Place] = {}  # by name in the storage: a place outside it, for its files
        self._stored_as: dict[contents.Version | None, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def within(self, folder: str | None) -> str:
        """The folder that an output must stay in, as a worker needs it: it matters where keys are absolute."""
        return str(Path(folder).absolute()) if folder and self._absolute else ""

    def key(self, name: str, generation_id: str, *, within: str | None = None) -> str:
        """Where a worker puts the output of this name: an absolute path in embedded mode, a key of the storage else.

        Args:
            name: as asked for.
            generation_id: its generation's.
            within: the folder that no link leads out of; None for any.

        Raises:
            OutputPathError: no file can be there.
        """
        if not self._absolute and not os.path.isabs(name):  # noqa: PTH117  # a tenth of what a Path costs
            return safe_key(name)
        path = Path(name)
        if self._absolute:
            _check_place(path.absolute())
            self._place(path, within).check()
            return str(path.absolute())
        _check_place(path)
        place = self._place(path, within)
        place.check()
        folder = hashlib.sha256(f"{socket.gethostname()}:{path.parent}".encode()).hexdigest()[:16]
        self._elsewhere[folder] = place
        return safe_key(f"{folder}/{generation_id}/{path.name}")

    def carried(self, place: str) -> str:
        """A reference image where every worker can read it; each is stored once a process, and anew in time.

        Returns:
            `file:<sha256>.<extension>` for what goes through the storage; any other place as it is.
        """
        if not _must_travel(place):
            return place
        version = version_of(place)
        with self._lock:
            reference, kept_at = self._stored_as.get(version, ("", float("-inf")))
            if time.monotonic() - kept_at > KEPT_ANEW_SECONDS:
                self._check_storage()
                reference = self.storage.keep_input(*_content(place))
                if len(self._stored_as) > REMEMBERED:
                    self._stored_as.clear()
                self._stored_as[version] = reference, time.monotonic()
            return reference

    def destination(self, key: str) -> Place:
        """Where on this machine a file is in the end."""
        asked = self._elsewhere.get(key.partition("/")[0])
        if asked:
            return Place(asked.root, str(PurePath(asked.inside).with_name(PurePosixPath(key).name)))
        return Place(self.home or Path.cwd(), key)

    def at_home(self, result: BatchResult, place_in: Callable[[str], Place] | None = None) -> BatchResult:
        """The result with its files on this machine, fetched from the storage where that is another place.

        Args:
            result: with its files as keys of the storage, or as absolute paths.
            place_in: where a file goes, by its key; None for the place it was asked for at.
        """
        if self._absolute and place_in is None:
            return result
        place_in = place_in or self.destination
        return result.with_files(lambda file: self._fetch(file, place_in(file.path)))

    def in_storage(self, result: BatchResult) -> BatchResult:
        """The result with its files where they are stored, to be read from there."""
        if self._absolute:
            return result
        return result.with_files(lambda file: StoredFile.of(file, self.storage))

    @staticmethod
    def _place(path: Path, within: str | None) -> Place:
        if within is None:
            return Place.of(path.absolute())
        root = Path(within).absolute()
        if not path.absolute().is_relative_to(root):
            raise OutputPathError(f"the output {str(path)!r} is outside the folder {within!r}")
        return Place(root, path.absolute().relative_to(root).as_posix())

    def _fetch(self, file: OutputFile, place: Place) -> OutputFile:
        path = place.path
        if file.sha256 and path.is_file() and not path.is_symlink() and contents.sha256(path) == file.sha256:
            return replace(file, path=str(path))  # brought before; a folder that was moved has taken it along
        try:
            self.storage.fetch(file.path, place)
        except StorageError:
            raise
        except FileNotFoundError:
            raise StorageError(
                f"the output {file.path!r} is not in the storage {self.storage.where!r}; "
                "allowed: REPLIBATCH_STORAGE_URL as the workers have it"
            ) from None
        brought = replace(file, path=str(place.path))
        if file.sha256 is not None and contents.sha256(place.path) != file.sha256:
            for _ in brought:  # says why
                pass
        return brought


def _must_travel(place: str) -> bool:
    """Whether a file goes through the storage: it is on this machine, or too large for a message."""
    return is_local(place) or (place.startswith("data:") and len(place) > INLINE_CHARACTERS)


def _content(place: str) -> tuple[Iterator[bytes], str]:
    """A file's bytes, and the extension its name or its data URI tells."""
    if place.startswith("data:"):
        return decoded(place), extension_of(place)
    return contents.chunks(place), Path(place).suffix


def _check_place(path: Path) -> None:
    """Look whether a file can be there, before it is paid for."""
    if "\0" in str(path) or len(os.fsencode(path)) > PATH_BYTES:
        raise OutputPathError(
            f"the output {str(path)!r}: allowed: a path of at most {PATH_BYTES} bytes, without a 0 byte"
        )
    try:
        nearest = next(parent for parent in path.parents if contents.is_there(parent, follow_symlinks=False))
    except OSError as error:
        raise OutputPathError(f"the output {str(path)!r} cannot be there: {error.strerror}") from None
    # Those of folders that are to be made, too: the system does not see how long they are until their turn comes.
    if any(len(os.fsencode(name)) > NAME_BYTES for name in path.relative_to(nearest).parts):
        raise OutputPathError(f"the output {str(path)!r}: allowed: names of at most {NAME_BYTES} bytes")
    if path.is_dir():
        raise OutputPathError(f"the output {str(path)!r} is a folder; allowed: a file's path")
    if not nearest.is_dir():
        raise OutputPathError(
            f"the output {str(path)!r}: {str(nearest)!r} is no folder; allowed: a path through folders"
        )
    if not os.access(nearest, os.W_OK):
        raise OutputPathError(f"the output {str(path)!r}: the folder {str(nearest)!r} cannot be written")


def version_of(place: str) -> contents.Version | None:
    """What tells a file from a later one of the same name; None where there is none."""
    if place.startswith("data:"):
        return hashlib.sha256(place.encode()).hexdigest(), 0, len(place)
    try:
        return contents.version(place)
    except OSError:
        return None
