"""The black image that stands in when every model failed."""

from __future__ import annotations

from functools import cache
from io import BytesIO

from PIL import Image

from replibatch.file_formats import PNG, STILLS, Format, extension_of

SIZE = (1600, 900)


def placeholder(name: str) -> bytes | None:
    """The black 1600x900 image, byte for byte the same each time.

    Args:
        name: of the file it is for: its extension says the format; PNG where it has none.

    Returns:
        The image; None where the name asks for a video, or for anything else that is no still image.
    """
    extension = extension_of(name)
    found = STILLS.get(extension) if extension else PNG
    return _black(found) if found else None


@cache
def _black(target: Format) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", SIZE).save(buffer, target.still)
    return buffer.getvalue()
