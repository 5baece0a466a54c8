"""File formats: what a file is by its bytes, and what its name promises."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        name: for people.
        extensions: without the dot; the usual one first.
        still: Pillow's name for it where it is an image that can be converted; None for all others.
    """

    name: str
    extensions: tuple[str, ...]
    still: str | None = None


JPEG = Format("JPEG", ("jpg", "jpeg", "jfif"), "JPEG")
PNG = Format("PNG", ("png",), "PNG")
WEBP = Format("WebP", ("webp",), "WEBP")
GIF = Format("GIF", ("gif",), "GIF")
AVIF = Format("AVIF", ("avif",), "AVIF")
BMP = Format("BMP", ("bmp",), "BMP")
TIFF = Format("TIFF", ("tiff", "tif"), "TIFF")
HEIC = Format("HEIC", ("heic", "heif"))
MP4 = Format("MP4", ("mp4", "m4v"))
QUICKTIME = Format("QuickTime", ("mov",))
WEBM = Format("WebM", ("webm", "mkv"))

FORMATS = (JPEG, PNG, WEBP, GIF, AVIF, BMP, TIFF, HEIC, MP4, QUICKTIME, WEBM)
KNOWN_EXTENSIONS = {extension for each in FORMATS for extension in each.extensions}
STILLS = {extension: each for each in FORMATS if each.still for extension in each.extensions}

_MAGIC = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    (b"\x1aE\xdf\xa3", WEBM),
)
_BRANDS = {
    b"avif": AVIF,
    b"avis": AVIF,
    b"heic": HEIC,
    b"heix": HEIC,
    b"mif1": HEIC,
    b"qt  ": QUICKTIME,
}


def recognise(path: Path) -> Format | None:
    """The format of a file by its first bytes; None for any other."""
    with path.open("rb") as file:
        head = file.read(16)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], MP4)
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return BMP
    return next((found for magic, found in _MAGIC if head.startswith(magic)), None)


def extension_of(name: str) -> str:
    """A name's extension, in lower case and without the dot; `""` where it has none."""
    return PurePath(name).suffix.lower().lstrip(".")


def agrees(name: str, found: Format | None) -> bool:
    """Whether a file has the format its name promises; an unknown extension, or none, fits unrecognised bytes."""
    extension = extension_of(name)
    if found is None:
        return extension not in KNOWN_EXTENSIONS
    return not extension or extension in found.extensions
