"""Still images in the format that their name promises."""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from replibatch.errors import NotSaved
from replibatch.file_formats import AVIF, BMP, JPEG, PNG, WEBP, Format
from replibatch.outputs import embedded, pixels

JPEG_QUALITY = 95
EXIF = b"Exif\0\0"  # opens it in a JPEG; some formats leave it out
XMP_TEXT = "XML:com.adobe.xmp"  # a PNG's XMP, among its texts
WHITE = (255, 255, 255, 255)

# What Pillow's decoders raise at bytes that are damaged.
DAMAGED = (OSError, SyntaxError, ValueError, RuntimeError, EOFError, struct.error, zlib.error)

# At most one image at a time for each core; `pixels` bounds the memory they take.
_decoding = threading.BoundedSemaphore(os.cpu_count() or 1)


class NotConverted(Exception):
    """The image stays as it is; the message says why."""


def convert(source: Path, destination: Path, target: Format) -> list[str]:
    """Write a still image in another format, with its EXIF data, XMP and colour profile where the format has them.

    Transparency becomes white where the format has none.

    Args:
        source: the image.
        destination: written anew.
        target: one of `STILLS`.

    Returns:
        What it carried and the copy does not, in words.

    Raises:
        NotConverted: it is animated, or has more pixels than there is memory for (`pixels.LARGEST_PIXELS`).
        NotSaved: its bytes are damaged.
        OSError: it could not be written.
    """
    with source.open("rb") as original, destination.open("xb") as file, _decoding, _decoded(original) as image:
        ready = _in_mode_for(image, target)
        options: dict[str, Any] = {"quality": JPEG_QUALITY} if target in (JPEG, WEBP, AVIF) else {}
        icc_profile = image.info.get("icc_profile")
        options["icc_profile"] = icc_profile if _same_colours(image.mode, ready.mode) else None
        exif = _exif(image)
        if exif and target in (JPEG, PNG, WEBP, AVIF):
            options["exif"] = exif
        ready.save(file, target.still, **options)
    lost = [] if "exif" in options or not image.info.get("exif") else ["EXIF data"]
    if icc_profile and not (options["icc_profile"] and target is not BMP):
        lost.append("colour profile")
    return [*lost, *_texts(image), *_carry_xmp(source, destination)]


def _texts(image: Image.Image) -> list[str]:
    """The texts of a PNG, or the comment of a JPEG or GIF: other formats have no place for them."""
    texts = [name for name in getattr(image, "text", {}) if name != XMP_TEXT]
    return [f"text {name!r}" for name in texts] + (["comment"] if image.info.get("comment") else [])


def _carry_xmp(source: Path, destination: Path) -> list[str]:
    """Write the source's XMP into the copy; returns what could not be carried over."""
    try:
        found = embedded.read(source)
    except embedded.NotEmbedded:
        return []
    lost = ["Content Credentials (C2PA)"] if found.has_c2pa else []
    if found.packet is None:
        return lost
    partial = destination.with_name(f"{destination.name}.xmp")
    try:
        embedded.write(destination, partial, found.packet)
        partial.replace(destination)
    except embedded.NotEmbedded:
        lost.append("XMP")
    finally:
        partial.unlink(missing_ok=True)
    return lost


@contextmanager
def _decoded(file: BinaryIO) -> Iterator[Image.Image]:
    """An image, decoded whole, which checks it; some formats go on reading the file."""
    with ExitStack() as stack:
        try:
            image = stack.enter_context(pixels.opened(file))
            if getattr(image, "is_animated", False):
                raise NotConverted("it is animated")
            image.load()
        except (pixels.TooLarge, Image.DecompressionBombError) as error:
            raise NotConverted(str(error)) from error
        except DAMAGED as error:
            raise NotSaved(f"the image is damaged: {error}") from error
        yield image


def _in_mode_for(image: Image.Image, target: Format) -> Image.Image:
    """The image in a mode that the format has."""
    if image.mode.startswith("I;16"):
        return image.point(lambda value: value * (1 / 256)).convert("L")
    if target in (JPEG, BMP) and image.has_transparency_data:
        colours = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, WHITE), colours).convert("RGB")
    if image.mode in ("L", "RGB") or (image.mode in ("RGBA", "LA") and target is PNG):
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _exif(image: Image.Image) -> bytes | None:
    """The image's EXIF data as any format takes it; None where there is none, or it cannot be read."""
    exif: bytes | None = image.info.get("exif")
    if not exif:
        return None
    try:
        Image.Exif().load(exif)
    except DAMAGED:
        return None
    return EXIF + exif.removeprefix(EXIF)


def _same_colours(before: str, after: str) -> bool:
    """Whether a profile made for one mode still fits the other."""
    return (before in ("L", "LA")) == (after in ("L", "LA")) and before != "CMYK"
