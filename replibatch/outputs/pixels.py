"""Pictures decoded within a budget of memory: a small file can be a very large picture."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from PIL import Image

from replibatch.file_formats import STILLS

BYTES_A_PIXEL = 16  # decoded, and its copies while it is converted: measured with WebP, the most costly
LARGEST_PIXELS = 2**24  # of one picture: 4096 x 4096
BUDGET_BYTES = LARGEST_PIXELS * BYTES_A_PIXEL  # of a process, for all pictures at a time
LARGEST_FILE_BYTES = 64 * 1024**2  # some decoders read the file whole

_FORMATS = sorted({each.still for each in STILLS.values() if each.still})


class TooLarge(Exception):
    """It would take more memory than there is for it; the message says how large it is."""


@contextmanager
def opened(file: BinaryIO) -> Iterator[Image.Image]:
    """A picture to be decoded within the `with` block: begun as soon as the memory for it is free.

    Raises:
        TooLarge: it has too many pixels, or bytes.
        OSError, SyntaxError, ValueError, …: it is damaged, or no picture of a format that can be converted.
    """
    size = os.fstat(file.fileno()).st_size
    if size > LARGEST_FILE_BYTES:
        raise TooLarge(f"{size / 1e6:,.0f} MB are too many")
    try:
        image = Image.open(file, formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge("its pixels are too many") from error
    pixels = image.width * image.height
    if pixels > LARGEST_PIXELS:
        raise TooLarge(f"{image.width}x{image.height} pixels are too many")
    with _budget.taken(pixels * BYTES_A_PIXEL):
        yield image


class _Budget:
    """Bytes that threads take for a while; a thread that asks for more than are left waits."""

    def __init__(self, limit_bytes: int) -> None:
        self._left = limit_bytes
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, amount: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._left >= amount)
            self._left -= amount
        try:
            yield
        finally:
            with self._changed:
                self._left += amount
                self._changed.notify_all()


_budget = _Budget(BUDGET_BYTES)
