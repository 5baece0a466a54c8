"""Files that appear whole or not at all: written under a hidden name beside their place, then renamed."""

from __future__ import annotations

import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from replibatch.storage.containment import Handle, Place

LEFTOVER_SECONDS = 24 * 3600  # nothing takes longer than this to write
STEM_BYTES = 200  # of the name, so that the hidden one is not too long for a name of the full length

_LEFTOVER = re.compile(r"\..*\.[0-9a-f]{16}\.part")
_swept: set[tuple[int, int]] = set()
_sweeping = threading.Lock()


@dataclass
class Staged:
    """A file on its way to its place.

    Attributes:
        path: where to write it; nothing is there yet.
        name: what it is called in the end, in its folder.
        folder: where both are.
        part: what it is called until then.
    """

    path: Path
    name: str
    folder: Handle
    part: str

    def commit(self, *, overwrite: bool = True) -> bool:
        """Put the file in its place, durably and in one step.

        Args:
            overwrite: whether it may replace a file that is there.

        Returns:
            False where a file is there and stays.
        """
        descriptor = self.folder.open(self.part, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if overwrite:
            self.folder.replace(self.name, by=self.part)
        elif not self._place_new():
            return False
        self.folder.sync()
        return True

    def _place_new(self) -> bool:
        """Rename without replacing, even if another process creates the target at the same moment."""
        try:
            self.folder.link(self.name, of=self.part)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links: reserve the name first
            try:
                os.close(self.folder.open(self.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return False
            self.folder.replace(self.name, by=self.part)
        return True


@contextmanager
def staged(target: Path | Place) -> Iterator[Staged]:
    """A place to write `target`'s content beside it; uncommitted content is gone at the end.

    Makes the folders it needs, and clears the folder of what crashed processes left there a day ago or more.

    Args:
        target: a `Place`, on the way to which no link is followed; or a path of the caller's own.

    Raises:
        OSError: the folder cannot be made.
        OutputPathError: a link is on the way.
    """
    place = target if isinstance(target, Place) else Place.of(target)
    with place.folder(create=True) as folder:
        _sweep(folder)
        stem = place.name.encode()[:STEM_BYTES].decode(errors="ignore")
        part = f".{stem}.{secrets.token_hex(8)}.part"
        try:
            yield Staged(folder.writable_path(part), place.name, folder, part)
        finally:
            folder.unlink(part)


def _sweep(folder: Handle) -> None:
    """Remove old leftovers, once a process and folder."""
    with _sweeping:
        if folder.identity in _swept:
            return
        _swept.add(folder.identity)
    oldest = time.time() - LEFTOVER_SECONDS
    for name in folder.names():
        if _LEFTOVER.fullmatch(name):
            with suppress(OSError):  # swept by another process meanwhile, or not ours to remove
                found = folder.lstat(name)
                if stat.S_ISREG(found.st_mode) and found.st_mtime < oldest:
                    folder.unlink(name)
