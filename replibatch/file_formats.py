"""File formats: what a file is by its bytes, and what its name promises."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePath


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        name: for people.
        extensions: without the dot; the usual one first.
        still: Pillow's name for it where it is an image that can be converted; None for all others.
        kind: what it holds: image, video, audio, 3d, text, data or archive.
    """

    name: str
    extensions: tuple[str, ...]
    still: str | None = None
    kind: str = "image"


JPEG = Format("JPEG", ("jpg", "jpeg", "jfif"), "JPEG")
PNG = Format("PNG", ("png",), "PNG")
WEBP = Format("WebP", ("webp",), "WEBP")
GIF = Format("GIF", ("gif",), "GIF")
AVIF = Format("AVIF", ("avif",), "AVIF")
BMP = Format("BMP", ("bmp",), "BMP")
TIFF = Format("TIFF", ("tiff", "tif"), "TIFF")
HEIC = Format("HEIC", ("heic", "heif"))
SVG = Format("SVG", ("svg",))
PSD = Format("PSD", ("psd",))
MP4 = Format("MP4", ("mp4", "m4v"), kind="video")
QUICKTIME = Format("QuickTime", ("mov",), kind="video")
WEBM = Format("WebM", ("webm",), kind="video")
MATROSKA = Format("Matroska", ("mkv",), kind="video")
AVI = Format("AVI", ("avi",), kind="video")
WAV = Format("WAV", ("wav", "wave"), kind="audio")
MP3 = Format("MP3", ("mp3",), kind="audio")
FLAC = Format("FLAC", ("flac",), kind="audio")
OGG = Format("Ogg", ("ogg", "oga", "opus", "ogv"), kind="audio")
M4A = Format("M4A", ("m4a", "aac"), kind="audio")
AAC = Format("AAC", ("aac",), kind="audio")
AIFF = Format("AIFF", ("aiff", "aif"), kind="audio")
MIDI = Format("MIDI", ("mid", "midi"), kind="audio")
GLB = Format("GLB", ("glb",), kind="3d")
GLTF = Format("glTF", ("gltf",), kind="3d")
OBJ = Format("OBJ", ("obj",), kind="3d")
PLY = Format("PLY", ("ply",), kind="3d")
STL = Format("STL", ("stl",), kind="3d")
ZIP = Format("ZIP", ("zip", "usdz", "docx", "xlsx", "npz", "pptx", "epub", "3mf"), kind="archive")
GZIP = Format("gzip", ("gz", "tgz"), kind="archive")
TAR = Format("tar", ("tar",), kind="archive")
PDF = Format("PDF", ("pdf",), kind="data")
JSON = Format("JSON", ("json", "geojson", "jsonl", "ndjson"), kind="data")
HTML = Format("HTML", ("html", "htm"), kind="text")
XML = Format("XML", ("xml",), kind="text")
TEXT = Format(
    "text", ("txt", "md", "csv", "tsv", "srt", "vtt", "log", "yaml", "yml", "py", "mtl", "lrc"), kind="text"
)

FORMATS = (
    *(JPEG, PNG, WEBP, GIF, AVIF, BMP, TIFF, HEIC, SVG, PSD, MP4, QUICKTIME, WEBM, MATROSKA, AVI),
    *(WAV, MP3, FLAC, OGG, M4A, AAC, AIFF, MIDI, GLB, GLTF, OBJ, PLY, STL, ZIP, GZIP, TAR, PDF),
    *(JSON, HTML, XML, TEXT),
)
KNOWN_EXTENSIONS = {extension for each in FORMATS for extension in each.extensions}
STILLS = {extension: each for each in FORMATS if each.still for extension in each.extensions}
# What no bytes tell, and the address of a file does.
HINTED = frozenset(
    {"splat", "spz", "ksplat", "npy", "bin", "safetensors", "pt", "fbx", "blend", "dxf", "step", "usdz"}
)

HEAD_BYTES = 4096
WHOLE_JSON_BYTES = 50_000_000  # a larger text is not read whole to see whether it is JSON

_MAGIC = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    (b"8BPS", PSD),
    (b"fLaC", FLAC),
    (b"OggS", OGG),
    (b"ID3", MP3),
    (b"MThd", MIDI),
    (b"glTF", GLB),
    (b"ply\n", PLY),
    (b"ply\r\n", PLY),
    (b"solid ", STL),
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),
    (b"\x1f\x8b", GZIP),
    (b"%PDF-", PDF),
)
_BRANDS = {
    b"avif": AVIF,
    b"avis": AVIF,
    b"heic": HEIC,
    b"heix": HEIC,
    b"mif1": HEIC,
    b"qt  ": QUICKTIME,
    b"M4A ": M4A,
    b"M4B ": M4A,
}
_RIFF = {b"WEBP": WEBP, b"WAVE": WAV, b"AVI ": AVI}
_OBJ_LINE = re.compile(rb"(mtllib|usemtl|o|g|s|v|vn|vt|f)[ \t]\S")
_HTML = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_SVG = re.compile(rb"<svg[\s>/]", re.IGNORECASE)


def recognise(path: Path) -> Format | None:
    """The format of a file by its bytes; None for any other."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return _container(head) or _stream(head) or _by_magic(head) or _text_format(path, head)


def extension_of(name: str) -> str:
    """A name's extension, in lower case and without the dot; `""` where it has none."""
    return PurePath(name).suffix.lower().lstrip(".")


def agrees(name: str, found: Format | None) -> bool:
    """Whether a file has the format its name promises; an unknown extension, or none, fits unrecognised bytes."""
    extension = extension_of(name)
    if found is None:
        return extension not in KNOWN_EXTENSIONS
    if found in (TEXT, XML) and extension not in KNOWN_EXTENSIONS:
        return True  # a text may be anything that is written as one
    return not extension or extension in found.extensions


def _container(head: bytes) -> Format | None:
    """The format of a container's content, where the container serves several formats."""
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], MP4)
    if head[:4] == b"\x1aE\xdf\xa3":
        return MATROSKA if b"matroska" in head[:64] else WEBM
    return AIFF if head[:4] == b"FORM" and head[8:11] == b"AIF" else None


def _stream(head: bytes) -> Format | None:
    """Sound that begins with its first frame: MPEG audio of the layers 2 and 3, or AAC."""
    if len(head) < 2 or head[0] != 0xFF:
        return None
    if head[1] & 0xE0 == 0xE0 and head[1] & 0x06 in (2, 4):
        return MP3
    return AAC if head[1] in (0xF1, 0xF9) else None


def _by_magic(head: bytes) -> Format | None:
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return BMP
    if head[257:262] == b"ustar":
        return TAR
    return next((found for magic, found in _MAGIC if head.startswith(magic)), None)


def _text_format(path: Path, head: bytes) -> Format | None:
    """What a file is that begins like none of the binary ones: some kind of text, or None."""
    if not head or not _is_text(head):
        return None
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:1] == b"<":
        return _markup(start)
    if start[:1] in (b"{", b"["):
        return _json_format(path) or TEXT
    lines = [line for line in start.splitlines() if line.strip() and not line.startswith(b"#")]
    whole = lines[:-1] or lines  # the last of the head may be cut off
    if whole and all(_OBJ_LINE.match(line) for line in whole) and any(line[:2] == b"v " for line in whole):
        return OBJ
    return TEXT


def _markup(start: bytes) -> Format:
    if _HTML.match(start):
        return HTML
    if _SVG.search(start):
        return SVG
    return XML if start.startswith(b"<?xml") else TEXT


def _json_format(path: Path) -> Format | None:
    if path.stat().st_size > WHOLE_JSON_BYTES:
        return JSON
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    is_gltf = isinstance(content, dict) and isinstance(content.get("asset"), dict) and "version" in content["asset"]
    return GLTF if is_gltf else JSON


def _is_text(head: bytes) -> bool:
    """Whether bytes are UTF-8 without control characters; a character may be cut off at their end."""
    if any(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return len(head) == HEAD_BYTES and error.start >= HEAD_BYTES - 4
    return True
