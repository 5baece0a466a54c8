"""Small files that stand for what a model makes: of the right format, and each its own by prompt, model and id."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from io import BytesIO

from PIL import Image

from replibatch.file_formats import STILLS
from replibatch.sandbox import media

SIZE = (16, 12)


def sample(extension: str, *about: str) -> bytes:
    """The bytes of a file.

    Args:
        extension: of its name, without the dot.
        *about: what it is of.
    """
    digest = hashlib.sha256("\0".join(about).encode()).digest()
    if still := STILLS.get(extension):
        picture = Image.frombytes("RGB", (4, 2), digest[:24]).resize(SIZE, Image.Resampling.NEAREST)
        buffer = BytesIO()
        picture.save(buffer, still.still)
        return buffer.getvalue()
    makers: dict[str, Callable[[], bytes]] = {
        "svg": partial(media.svg, digest.hex(), "fake", SIZE),
        "wav": media.wav,
        "flac": media.flac,
    }
    if make := makers.get(extension):
        return make()
    # A video's first box, and the digest: enough to be recognised, and to differ from other samples.
    return b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0\0\0\x28free" + digest
