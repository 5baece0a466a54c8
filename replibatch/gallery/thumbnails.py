"""Small pictures beside the page, made once: thousands of whole ones would be gigabytes to decode."""

from __future__ import annotations

import hashlib
import os
import re
import statistics
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from replibatch import contents
from replibatch.file_formats import STILLS, extension_of
from replibatch.outputs.images import DAMAGED, WHITE

LONGEST_EDGE = 448  # pixels
QUALITY = 78
AT_ONCE = 2  # pictures decoded at a time
MEASURED = 60  # pictures that tell the shape of all
EXTENSION = "thumb"  # browsers go by the bytes; tools that collect a folder's pictures skip these

_NAME = re.compile(rf"[0-9a-f]{{24}}\.{EXTENSION}")


class Thumbnails:
    """The thumbnails of one page.

    Args:
        folder: where they are; made when the first one is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._wanted: dict[str, Path] = {}
        with suppress(FileNotFoundError):
            self._there = {each.stem for each in folder.iterdir() if _NAME.fullmatch(each.name)}
            return
        self._there = set()

    def name_for(self, picture: Path, sha256: str | None) -> str:
        """What a picture's thumbnail is called; empty where it is no still image. It is made by `make`.

        Args:
            picture: the file.
            sha256: of its bytes; None goes by its place, size and time.
        """
        if extension_of(picture.name) not in STILLS:
            return ""
        if sha256 is None:
            try:
                sha256 = hashlib.sha256(repr(contents.version(picture)).encode()).hexdigest()
            except OSError:
                return ""
        name = sha256[:24]
        if not re.fullmatch("[0-9a-f]{24}", name):
            return ""
        self._wanted[name] = picture
        return name

    def make(self, keep_going: Callable[[], bool] = lambda: True) -> set[str]:
        """Make those that are missing and remove those that are not wanted any more; returns which are there.

        Args:
            keep_going: False leaves the rest for another time.
        """
        missing = {name: picture for name, picture in self._wanted.items() if name not in self._there}
        if missing:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._make_all(missing, keep_going)
        for name in self._there - self._wanted.keys():
            (self._folder / f"{name}.{EXTENSION}").unlink(missing_ok=True)
        self._there &= self._wanted.keys()
        return self._there

    def aspect(self) -> float:
        """Width by height of the usual picture."""
        found = []
        names = sorted(self._there)
        for name in names[:: max(1, len(names) // MEASURED)]:
            with suppress(*DAMAGED), Image.open(self._folder / f"{name}.{EXTENSION}") as image:
                found.append(image.width / image.height)
        return round(statistics.median(found), 3) if found else 1.0

    def _make_all(self, missing: dict[str, Path], keep_going: Callable[[], bool]) -> None:
        stopped = threading.Event()

        def make(each: tuple[str, Path]) -> bool:
            return not stopped.is_set() and keep_going() and self._make(*each)

        with ThreadPoolExecutor(AT_ONCE, "thumbnails") as pool:
            try:
                done = pool.map(make, missing.items())
                self._there.update(name for name, made in zip(missing, done, strict=True) if made)
            except BaseException:
                stopped.set()  # Ctrl-C: the pool waits for no more than is under way
                raise

    def _make(self, name: str, picture: Path) -> bool:
        """Make one; False where it cannot be made, and the page shows the picture itself."""
        partial = self._folder / f"{name}.{os.getpid()}.part"
        try:
            small = thumbnail(picture, LONGEST_EDGE)
            small.save(partial, "JPEG", quality=QUALITY)
            partial.replace(self._folder / f"{name}.{EXTENSION}")
        except (*DAMAGED, Image.DecompressionBombError):
            partial.unlink(missing_ok=True)
            return False
        return True


def thumbnail(picture: Path | BinaryIO, longest_edge: int) -> Image.Image:
    """A picture, made small, on white where it is transparent.

    Args:
        picture: the file.
        longest_edge: pixels.

    Raises:
        OSError, SyntaxError, ValueError, …: `DAMAGED`, where it is no picture, or too large a one.
    """
    with Image.open(picture) as image:
        if image.width * image.height > (Image.MAX_IMAGE_PIXELS or 0):
            raise ValueError(f"{image.width}x{image.height} pixels are too many")
        image.draft("RGB", (longest_edge, longest_edge))
        image.load()
        if not image.has_transparency_data:
            small = image.convert("RGB")
            small.thumbnail((longest_edge, longest_edge))
            return small
        small = image.convert("RGBA")
    small.thumbnail((longest_edge, longest_edge))
    return Image.alpha_composite(Image.new("RGBA", small.size, WHITE), small).convert("RGB")
