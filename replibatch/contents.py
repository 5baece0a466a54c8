"""The content of a local file: in pieces, by its hash, or by a mark that changes when the file does."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

CHUNK_BYTES = 256 * 1024

Version = tuple[str, int, int]


class NoRegularFile(OSError):
    """A device, a FIFO, a socket: it may never end, or wait for ever."""


def opened(path: str | Path) -> BufferedReader:
    """A file, to be read; links are followed.

    Raises:
        NoRegularFile: it is none.
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NoRegularFile(errno.EINVAL, "a device, a FIFO or a folder; expected: a file", str(path))
    return os.fdopen(descriptor, "rb")


def chunks(path: str | Path) -> Iterator[bytes]:
    """The bytes of a file, at most `CHUNK_BYTES` at a time."""
    with opened(path) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def sha256(path: str | Path) -> str:
    """The hash of a file, in hexadecimal."""
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_there(path: str | Path, *, follow_symlinks: bool = True) -> bool:
    """Whether a path leads to a file or a folder.

    From Python 3.14 on, `Path.exists` says no where the check itself failed; but a missing file is made and paid for
    again.

    Args:
        path: the path to check.
        follow_symlinks: whether a link that leads nowhere counts as nothing; otherwise it is something.

    Raises:
        OSError: the check failed, as in a folder that may not be entered, or no file can have that name.
    """
    try:
        Path(path).stat(follow_symlinks=follow_symlinks)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # no file has a byte 0 in its name
        return False
    return True


def version(path: str | Path) -> Version:
    """What tells a file from a later one of the same name, without reading it.

    Raises:
        OSError: there is none.
    """
    found = Path(path).stat()
    return str(path), found.st_mtime_ns, found.st_size
