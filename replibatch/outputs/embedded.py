"""What a file carries about itself: its XMP packet and Content Credentials (C2PA), read and written byte by byte.

Nothing is decoded or encoded again: the picture stays as it was.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from replibatch.contents import CHUNK_BYTES
from replibatch.file_formats import JPEG, MP4, PNG, QUICKTIME, WEBP, Format, recognise

MOST_XMP_BYTES = 4 << 20
MOST_PIECES = 100_000  # segments, chunks or boxes of one file
JPEG_XMP_BYTES = 65_502  # that one segment holds

_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_PNG_XMP = b"XML:com.adobe.xmp\0"
_MP4_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_MP4_C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_VP8X_ALPHA, _VP8X_XMP = 0x10, 0x04


class NotEmbedded(Exception):
    """The file cannot take a packet; the message says why."""


@dataclass(frozen=True)
class Piece:
    """A segment, chunk or box of a file.

    Attributes:
        kind: its marker or type.
        start: where it begins.
        end: where the next one begins.
        body: where its content begins.
    """

    kind: bytes
    start: int
    end: int
    body: int


@dataclass(frozen=True)
class Embedded:
    """What was found.

    Attributes:
        packet: the XMP packet; None where there is none.
        has_c2pa: whether it carries Content Credentials, which any change would break.
        place: the piece that holds the packet.
    """

    packet: bytes | None = None
    has_c2pa: bool = False
    place: Piece | None = None


def read(path: Path) -> Embedded:
    """What a JPEG, PNG, WebP, MP4 or QuickTime file carries; nothing, for any other.

    Raises:
        NotEmbedded: the file is malformed.
        OSError: it cannot be read.
    """
    made = recognise(path)
    with path.open("rb") as file:
        packet, place, has_c2pa = None, None, False
        for piece in _pieces(file, made):
            has_c2pa = has_c2pa or _is_c2pa(file, piece, made)
            if packet is None and (found := _packet(file, piece, made)) is not None:
                packet, place = found, piece
        has_c2pa = has_c2pa or b"dcterms:provenance" in (packet or b"")
        return Embedded(packet, has_c2pa, place)


def write(source: Path, destination: Path, packet: bytes) -> None:
    """Write a copy of a file that carries a packet, in place of the one it may have.

    Args:
        source: the file.
        destination: the copy; nothing is there yet.
        packet: the XMP.

    Raises:
        NotEmbedded: its format takes none, it is malformed, or the packet is too long.
        OSError: it cannot be read or written.
    """
    made = recognise(source)
    there = read(source).place
    with source.open("rb") as file, destination.open("xb") as copy:
        pieces = list(_pieces(file, made))
        size = file.seek(0, 2)
        if made is WEBP:
            _write_webp(file, copy, [piece for piece in pieces if piece != there], packet)
            return
        at, holder = _holder(pieces, size, made, packet)
        if there and made in (MP4, QUICKTIME):
            raise NotEmbedded("it has XMP of its own")  # its box could not be replaced without moving the media
        cuts = sorted([(at, holder), *([(there.start, None)] if there else [])], key=lambda cut: cut[0])
        position = 0
        for place, inserted in cuts:
            _copy(file, copy, position, place)
            if inserted is not None:
                copy.write(inserted)
            position = there.end if there and inserted is None else place
        _copy(file, copy, position, size)


def _pieces(file: BinaryIO, made: Format | None) -> Iterator[Piece]:
    walk = {JPEG: _jpeg, PNG: _png, WEBP: _riff, MP4: _boxes, QUICKTIME: _boxes}.get(made) if made else None
    if walk is None:
        return
    for number, piece in enumerate(walk(file)):
        if number > MOST_PIECES:
            raise NotEmbedded("it has too many parts")
        yield piece


def _jpeg(file: BinaryIO) -> Iterator[Piece]:
    """The segments before the picture itself."""
    at = 2
    while True:
        head = _exactly(file, at, 4)
        marker, length = head[:2], struct.unpack(">H", head[2:])[0]
        if marker[0] != 0xFF or length < 2:
            raise NotEmbedded("it is no well-formed JPEG")
        if marker == b"\xff\xda":
            return
        yield Piece(marker, at, at + 2 + length, at + 4)
        at += 2 + length


def _png(file: BinaryIO) -> Iterator[Piece]:
    at = 8
    while True:
        length, kind = struct.unpack(">I4s", _exactly(file, at, 8))
        yield Piece(kind, at, at + length + 12, at + 8)
        at += length + 12
        if kind == b"IEND":
            return


def _riff(file: BinaryIO) -> Iterator[Piece]:
    end = struct.unpack("<I", _exactly(file, 4, 4))[0] + 8
    at = 12
    while at + 8 <= end:
        kind, length = struct.unpack("<4sI", _exactly(file, at, 8))
        yield Piece(kind, at, at + 8 + length + length % 2, at + 8)
        at += 8 + length + length % 2


def _boxes(file: BinaryIO) -> Iterator[Piece]:
    size, at = file.seek(0, 2), 0
    while at + 8 <= size:
        length, kind = struct.unpack(">I4s", _exactly(file, at, 8))
        body = at + 8
        if length == 1:
            length, body = struct.unpack(">Q", _exactly(file, at + 8, 8))[0], at + 16
        elif length == 0:
            kind, length = b"last", size - at
        if length < body - at:
            raise NotEmbedded("it is no well-formed MP4")
        yield Piece(kind, at, at + length, body)
        at += length


def _is_c2pa(file: BinaryIO, piece: Piece, made: Format | None) -> bool:
    if made is JPEG:
        return piece.kind == b"\xff\xeb" and b"c2pa" in _exactly(file, piece.body, min(512, piece.end - piece.body))
    if made in (MP4, QUICKTIME):
        return piece.kind == b"uuid" and piece.end - piece.body >= 16 and _exactly(file, piece.body, 16) == _MP4_C2PA
    return piece.kind in (b"caBX", b"C2PA")


def _packet(file: BinaryIO, piece: Piece, made: Format | None) -> bytes | None:
    """The packet that a piece holds; None where it holds none."""
    holds = {JPEG: b"\xff\xe1", PNG: b"iTXt", WEBP: b"XMP ", MP4: b"uuid", QUICKTIME: b"uuid"}
    if made is None or piece.kind != holds.get(made):
        return None
    if piece.end - piece.body > MOST_XMP_BYTES:
        return None
    body = _exactly(file, piece.body, piece.end - piece.body)
    if made is JPEG:
        return body[len(_JPEG_XMP) :] if body.startswith(_JPEG_XMP) else None
    if made is PNG:
        return _png_packet(body[:-4]) if body.startswith(_PNG_XMP) else None
    if made is WEBP:
        return body[: struct.unpack("<I", _exactly(file, piece.start + 4, 4))[0]]
    return body[16:] if body[:16] == _MP4_XMP else None


def _png_packet(body: bytes) -> bytes | None:
    after = body[len(_PNG_XMP) :]
    parts = after[2:].split(b"\0", 2)
    if len(after) < 2 or len(parts) < 3:
        return None
    if after[0] == 0:
        return parts[2]
    try:
        return zlib.decompressobj().decompress(parts[2], MOST_XMP_BYTES)
    except zlib.error:
        return None


def _holder(pieces: list[Piece], size: int, made: Format | None, packet: bytes) -> tuple[int, bytes]:
    """Where a packet goes, and the piece that holds it."""
    if made is JPEG:
        if len(packet) > JPEG_XMP_BYTES:
            raise NotEmbedded(f"{len(packet):,} bytes are more than a JPEG takes")
        first = [piece for piece in pieces if piece.kind in (b"\xff\xe0", b"\xff\xe1")]
        at = first[-1].end if first else 2
        return at, b"\xff\xe1" + struct.pack(">H", len(_JPEG_XMP) + len(packet) + 2) + _JPEG_XMP + packet
    if made is PNG:
        content = b"iTXt" + _PNG_XMP + b"\0\0\0\0" + packet
        whole = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
        return pieces[0].end, whole
    if made in (MP4, QUICKTIME):
        if not pieces or pieces[-1].kind == b"last" or pieces[-1].end != size:
            raise NotEmbedded("nothing can be added at its end")
        return size, struct.pack(">I4s", len(packet) + 24, b"uuid") + _MP4_XMP + packet
    raise NotEmbedded(f"{made.name if made else 'a file of its format'} takes none")


def _write_webp(file: BinaryIO, copy: BinaryIO, pieces: list[Piece], packet: bytes) -> None:
    """A WebP with an `XMP ` chunk at its end, in the extended form that has a place for one."""
    if not pieces:
        raise NotEmbedded("it is no well-formed WebP")
    first = pieces[0]
    if first.kind == b"VP8X":
        body = bytearray(_exactly(file, first.body, 10))
        pieces = pieces[1:]
    else:
        body = bytearray(_extended(file, first))
    body[0] |= _VP8X_XMP
    xmp = b"XMP " + struct.pack("<I", len(packet)) + packet + b"\0" * (len(packet) % 2)
    length = 4 + 18 + sum(piece.end - piece.start for piece in pieces) + len(xmp)
    copy.write(b"RIFF" + struct.pack("<I", length) + b"WEBP" + b"VP8X" + struct.pack("<I", 10) + bytes(body))
    for piece in pieces:
        _copy(file, copy, piece.start, piece.end)
    copy.write(xmp)


def _extended(file: BinaryIO, first: Piece) -> bytes:
    """The head of the extended form, by what the simple form says of the picture."""
    head = _exactly(file, first.body, 10)
    if first.kind == b"VP8 " and head[3:6] == b"\x9d\x01\x2a":
        width, height = (value & 0x3FFF for value in struct.unpack("<HH", head[6:10]))
        flags = 0
    elif first.kind == b"VP8L" and head[0] == 0x2F:
        bits = struct.unpack("<I", head[1:5])[0]
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        flags = _VP8X_ALPHA if bits >> 28 & 1 else 0
    else:
        raise NotEmbedded("it is no well-formed WebP")
    size = struct.pack("<II", width - 1, height - 1)
    return bytes([flags, 0, 0, 0]) + size[:3] + size[4:7]


def _exactly(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    found = file.read(count)
    if len(found) < count:
        raise NotEmbedded("it ends early")
    return found


def _copy(file: BinaryIO, copy: BinaryIO, start: int, end: int) -> None:
    file.seek(start)
    left = end - start
    while left > 0:
        chunk = file.read(min(left, CHUNK_BYTES))
        if not chunk:
            raise NotEmbedded("it ends early")
        copy.write(chunk)
        left -= len(chunk)
