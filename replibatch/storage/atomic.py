"""Files that appear whole or not at all: written under a hidden name beside their place, then renamed."""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

LEFTOVER_SECONDS = 24 * 3600  # nothing takes longer than this to write
STEM_BYTES = 200  # of the name, so that the hidden one is not too long for a name of the full length

_LEFTOVER = re.compile(r"\..*\.[0-9a-f]{16}\.part")
_swept: set[Path] = set()
_sweeping = threading.Lock()


@dataclass
class Staged:
    """A file on its way to its place.

    Attributes:
        path: where to write it; nothing is there yet.
        target: its place.
    """

    path: Path
    target: Path

    def commit(self, *, overwrite: bool = True) -> bool:
        """Put the file in its place, durably and in one step.

        Args:
            overwrite: whether it may replace a file that is there.

        Returns:
            False where a file is there and stays.
        """
        _sync(self.path, os.O_RDWR)
        if overwrite:
            self.path.replace(self.target)
        elif not _place_new(self.path, self.target):
            return False
        _sync_folder(self.target.parent)
        return True


@contextmanager
def staged(target: Path) -> Iterator[Staged]:
    """A place to write `target`'s content beside it; without a commit it is gone at the end.

    Makes the folders it needs, and clears the folder of what crashed processes left there a day ago or more.

    Raises:
        OSError: the folder cannot be made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target.parent)
    stem = target.name.encode()[:STEM_BYTES].decode(errors="ignore")
    path = target.with_name(f".{stem}.{secrets.token_hex(8)}.part")
    try:
        yield Staged(path, target)
    finally:
        path.unlink(missing_ok=True)


def _place_new(path: Path, target: Path) -> bool:
    """Rename without replacing, even if another process creates the target at the same moment."""
    try:
        target.hardlink_to(path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links: reserve the name first
        try:
            target.touch(exist_ok=False)
        except FileExistsError:
            return False
        path.replace(target)
    return True


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where folders can be synced."""
    with suppress(OSError):  # Windows opens no folders, and some network file systems sync none
        _sync(folder, os.O_RDONLY)


def _sync(path: Path, how: int) -> None:
    descriptor = os.open(path, how)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Remove old leftovers, once a process and folder."""
    with _sweeping:
        if folder in _swept:
            return
        _swept.add(folder)
    oldest = time.time() - LEFTOVER_SECONDS
    with os.scandir(folder) as entries:
        for entry in entries:
            if _LEFTOVER.fullmatch(entry.name):
                with suppress(OSError):  # swept by another process meanwhile, or not ours to remove
                    if entry.stat(follow_symlinks=False).st_mtime < oldest:
                        Path(entry).unlink()
