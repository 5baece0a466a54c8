"""Files in the output folder that are not what an item made: nothing but `--overwrite` replaces them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from replibatch import contents
from replibatch.cli.run.folder import OutputFolder
from replibatch.cli.run.made import Made
from replibatch.lists import Item

if TYPE_CHECKING:
    from replibatch.producer import Producer


class ForeignFiles:
    """Finds files in the way of items.

    Args:
        folder: that the items are made into.
        made: what an earlier run has made there.
        producer: opens the process's; None where the queue is not asked.
    """

    def __init__(self, folder: OutputFolder, made: Made, producer: Callable[[], Producer] | None) -> None:
        self._folder = folder
        self._made = made
        self._producer = producer

    def in_the_way_of(self, item: Item) -> str | None:
        """What keeps an item's file from its place, for people; None for nothing."""
        for name in item.file_names:
            path = self._folder.path / name
            if path.is_symlink() or path.exists():
                if path.is_dir():
                    return f"{name} is a folder in {self._folder.shown}; expected: another name"
                if not self._is_own(item, name, path):
                    return (
                        f"{name} is in {self._folder.shown} already, and this item has not made it; "
                        "expected: another name, another -o, or --overwrite"
                    )
        return None

    def _is_own(self, item: Item, name: str, path: Path) -> bool:
        """Whether the item has made a file: by the results in the folder, or by its record in the queue."""
        if path.is_symlink():
            return False  # nothing is written through a link
        digest = contents.sha256(path)
        if self._made.is_of(item.key, name, digest):
            return True
        if self._producer is None:
            return False
        state, _, result = self._producer().jobs.outcome(item.id)
        if result is None:
            return bool(state)  # it is being made: the file was not there when that was asked for
        return any(file.sha256 == digest for file in result.files)
