"""Places below a folder, reached step by step from a handle of that folder: no link on the way is followed.

An output folder may come from another person, with links in it that lead out. Checking a path and then using it
leaves a moment between the two; here each step opens the next folder relative to the last one's handle, and the file
relative to its folder's. Windows has no such handles: there each step is checked before it is used.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from io import BufferedReader, FileIO
from pathlib import Path, PurePath

from replibatch.errors import OutputPathError

_HAS_HANDLES = sys.platform != "win32"
_NO_LINK: int = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT: int = getattr(os, "O_NONBLOCK", 0)  # a FIFO would otherwise be waited for
_FOLDER: int = getattr(os, "O_DIRECTORY", 0)
_ALONE = _NO_LINK | _NO_WAIT | getattr(os, "O_BINARY", 0)


class LinkOnTheWay(OutputPathError):
    """A link is where a folder should be."""


@dataclass(frozen=True)
class Place:
    """Where a file is, or is to be.

    Attributes:
        root: a folder that is trusted: links on the way to it are its owner's.
        inside: the way from there to the file, with `/` between names; no link on it is followed.

    Raises:
        OutputPathError: the way would leave the root.
    """

    root: Path
    inside: str

    def __post_init__(self) -> None:
        way = PurePath(self.inside)
        if way.anchor or ".." in way.parts or not way.parts or "\0" in self.inside:
            raise OutputPathError(f"the output {self.inside!r} is outside the folder {str(self.root)!r}")

    @classmethod
    def of(cls, path: Path) -> Place:
        """A path that is its owner's own: links to its folder are followed."""
        return cls(path.parent, path.name)

    @property
    def path(self) -> Path:
        """The same as a path, for people and for comparing."""
        return self.root / self.inside

    @property
    def name(self) -> str:
        """The file's name in its folder."""
        return PurePath(self.inside).name

    @contextmanager
    def folder(self, *, create: bool = False) -> Iterator[Handle]:
        """The file's folder, open as long as the `with` block lasts.

        Args:
            create: make the folders that are not there.

        Raises:
            OutputPathError: a link, or a file, is on the way.
            FileNotFoundError: it is not there.
        """
        if create:
            self.root.mkdir(parents=True, exist_ok=True)
        way = PurePath(self.inside).parts[:-1]
        try:
            handle = Handle.at_the_end_of(self.root, way, create=create)
        except LinkOnTheWay:
            # One that stays inside is followed: by the way that it stands for, on which none is.
            root = Path(os.path.realpath(self.root))
            folder = Path(os.path.realpath(self.root.joinpath(*way)))  # a loop of links is no error to it
            if not folder.is_relative_to(root):
                raise
            handle = Handle.at_the_end_of(root, folder.relative_to(root).parts, create=create)
        try:
            yield handle
        finally:
            handle.close()

    def open(self) -> BufferedReader:
        """The file, to be read.

        Raises:
            OutputPathError: it is a link, or no file at all.
            FileNotFoundError: it is not there.
        """
        with self.folder() as folder:
            return os.fdopen(folder.open(self.name, os.O_RDONLY), "rb")

    def check(self) -> None:
        """Check whether the file could be here: no link or file is on the way, and no folder in its place.

        Raises:
            OutputPathError: it could not.
        """
        try:
            with self.folder() as folder:
                if folder.is_folder(self.name):
                    raise OutputPathError(f"the output {self.inside!r} is a folder; allowed: a file's path")
        except FileNotFoundError:
            pass  # it can be made
        except OSError as error:
            raise OutputPathError(f"the output {self.inside!r} cannot be there: {error.strerror}") from None


class Handle:
    """A folder that is open.

    Args:
        path: where it was found.
        descriptor: the open folder's; None on Windows.
    """

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def of(cls, path: Path) -> Handle:
        """A folder by its path, links followed."""
        return cls(path, os.open(path, os.O_RDONLY | _FOLDER) if _HAS_HANDLES else None)

    @classmethod
    def at_the_end_of(cls, root: Path, way: Sequence[str], *, create: bool) -> Handle:
        """A folder below another, no link followed after that."""
        handle = cls.of(root)
        try:
            for name in way:
                following = handle.enter(name, create=create)
                handle.close()
                handle = following
        except BaseException:
            handle.close()
            raise
        return handle

    def close(self) -> None:
        """Give it up."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def enter(self, name: str, *, create: bool) -> Handle:
        """A folder in it."""
        path = self._path / name
        while True:
            try:
                if self._descriptor is None:
                    if is_link(path.lstat()):
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
                    return Handle(path, None)
                return Handle(path, os.open(name, os.O_RDONLY | _FOLDER | _NO_LINK, dir_fd=self._descriptor))
            except FileNotFoundError:
                if not create:
                    raise
                with suppress(FileExistsError):
                    os.mkdir(self._named(name), dir_fd=self._descriptor)
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
                    raise
                if is_link(self.lstat(name)):
                    words = f"{str(path)!r} is a link and leads outside the output folder; expected: a folder"
                    raise LinkOnTheWay(words) from None
                raise OutputPathError(f"{str(path)!r} is a file; expected: a folder") from None

    def open(self, name: str, flags: int, mode: int = 0o666) -> int:
        """A descriptor of a file in it.

        Raises:
            OutputPathError: it is a link, or a device, a FIFO, a socket.
        """
        try:
            descriptor = os.open(self._named(name), flags | _ALONE, mode, dir_fd=self._descriptor)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EMLINK):
                raise OutputPathError(f"{str(self._path / name)!r} is a link; expected: a file") from None
            if error.errno == errno.ENXIO:  # a FIFO without a reader, a socket
                raise self._no_file(name) from None
            raise
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or (self._descriptor is None and is_link(self.lstat(name))):
            os.close(descriptor)
            raise self._no_file(name)
        return descriptor

    def writable_path(self, name: str) -> Path:
        """A path for what opens files by name: through the handle, where the system has such paths."""
        if self._descriptor is not None and _has_descriptor_paths():
            return Path(f"/proc/self/fd/{self._descriptor}/{name}")
        return self._path / name

    def replace(self, name: str, by: str) -> None:
        """Give one file in it another's name."""
        os.replace(self._named(by), self._named(name), src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def link(self, name: str, of: str) -> None:
        """Give a file in it a second name.

        Raises:
            FileExistsError: that is taken.
        """
        os.link(
            self._named(of),
            self._named(name),
            src_dir_fd=self._descriptor,
            dst_dir_fd=self._descriptor,
            follow_symlinks=self._descriptor is None,
        )

    def unlink(self, name: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            os.unlink(self._named(name), dir_fd=self._descriptor)

    def lstat(self, name: str) -> os.stat_result:
        """About an entry itself, not what it links to."""
        return os.stat(self._named(name), dir_fd=self._descriptor, follow_symlinks=False)

    def is_folder(self, name: str) -> bool:
        """Whether an entry is a folder."""
        try:
            return stat.S_ISDIR(self.lstat(name).st_mode)
        except FileNotFoundError:
            return False

    def names(self) -> list[str]:
        """Of all entries."""
        return os.listdir(self._path if self._descriptor is None else self._descriptor)  # noqa: PTH208  # of a handle

    def sync(self) -> None:
        """Make renames in it durable, where folders can be synced."""
        if self._descriptor is not None:
            with suppress(OSError):  # some network file systems sync none
                os.fsync(self._descriptor)

    @property
    def identity(self) -> tuple[int, int]:
        """What tells it from any other."""
        found = self._path.stat() if self._descriptor is None else os.fstat(self._descriptor)
        return found.st_dev, found.st_ino

    def _named(self, name: str) -> str:
        return str(self._path / name) if self._descriptor is None else name

    def _no_file(self, name: str) -> OutputPathError:
        return OutputPathError(f"{str(self._path / name)!r} is a device, a FIFO or the like; expected: a file")


def open_to_append(path: Path) -> FileIO:
    """Open a file of ours in a user's folder to read and append to, unbuffered; make it where it is missing.

    Raises:
        OutputPathError: it is a link, no file at all, or has other names elsewhere.
    """
    place = Place.of(path)
    with place.folder() as folder:
        file = FileIO(folder.open(place.name, os.O_RDWR | os.O_CREAT | os.O_APPEND), "a+")
    if os.fstat(file.fileno()).st_nlink > 1:
        file.close()
        raise OutputPathError(f"{str(path)!r} is a hard link to a file elsewhere; expected: a file of its own")
    return file


def is_link(found: os.stat_result) -> bool:
    """Whether it leads elsewhere: a symbolic link, or a junction of Windows."""
    return stat.S_ISLNK(found.st_mode) or bool(
        getattr(found, "st_file_attributes", 0) & getattr(stat, "FILE_ATTRIBUTE_REPARSE_POINT", 0)
    )


@cache
def _has_descriptor_paths() -> bool:
    return sys.platform == "linux" and Path("/proc/self/fd").is_dir()
