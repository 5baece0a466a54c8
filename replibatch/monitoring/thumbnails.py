"""Small pictures of what was made, read from the storage and kept in memory for a while."""

from __future__ import annotations

import io
import tempfile
import threading
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageOps

from replibatch.file_formats import STILLS, extension_of
from replibatch.outputs import pixels
from replibatch.outputs.images import DAMAGED
from replibatch.storage.storage import Storage

SIDE_PIXELS = 320
KEPT = 400
AT_A_TIME = 2  # a decoded original takes up to 4 bytes a pixel
QUALITY = 82


def is_picture(key: str) -> bool:
    """Whether an output's name promises a still image."""
    return extension_of(key) in STILLS


class Thumbnails:
    """Makes them of the outputs in a storage.

    Args:
        storage: the fleet's, as this process reaches it.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._turn = threading.BoundedSemaphore(AT_A_TIME)
        self._made = lru_cache(maxsize=KEPT)(self._make)

    def of(self, key: str, sha256: str | None) -> bytes | None:
        """A JPEG of at most `SIDE_PIXELS` on each side; None where the output is not there, or no picture.

        Args:
            key: the output's name in the storage.
            sha256: of its bytes: one that is made again is another picture.
        """
        if not is_picture(key):
            return None
        try:
            return self._made(key, sha256)
        except (*DAMAGED, pixels.TooLarge, Image.DecompressionBombError):
            return None

    def _make(self, key: str, sha256: str | None) -> bytes:  # noqa: ARG002  # part of what it is remembered by
        with self._turn, tempfile.TemporaryDirectory(prefix="replibatch-") as folder:
            copy = Path(folder) / "original"
            self._storage.fetch(key, copy)
            with copy.open("rb") as file, pixels.opened(file) as image:
                image.draft("RGB", (SIDE_PIXELS, SIDE_PIXELS))
                small = ImageOps.exif_transpose(image)
                small.thumbnail((SIDE_PIXELS, SIDE_PIXELS))
                flat = Image.new("RGB", small.size, "white")
                flat.paste(small, mask=small.convert("RGBA").getchannel("A") if small.has_transparency_data else None)
        encoded = io.BytesIO()
        flat.save(encoded, "JPEG", quality=QUALITY)
        return encoded.getvalue()
