"""The videos the stand-in makes: a few seconds of MP4 that any player shows.

The prompt's picture with a bar that fills up, a handful of frames of raw H.264 (see `h264`), no sound; small, since
no viewer watches them for long. The boxes are those of ISO/IEC 14496-12 (file) and -15 (`avcC`).
"""

from __future__ import annotations

import struct

from PIL import Image, ImageDraw

from replibatch.sandbox import h264, pictures

SIZES = {"16:9": (256, 144), "9:16": (144, 256)}
SQUARE = (192, 192)
FRAMES = 6
SECONDS = 5.0  # where the input does not say
TICKS_PER_SECOND = 1000
_UNITY_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


def make(
    prompt: str, model: str, *, aspect_ratio: object = "16:9", seconds: float = SECONDS, variant: str = ""
) -> bytes:
    """Make one video.

    Args:
        prompt: written on it; decides the colours.
        model: its name, in the lower corner.
        aspect_ratio: `16:9`, `9:16`, or anything else for a square.
        seconds: its length.
        variant: anything that tells two videos of one prompt apart.
    """
    size = SIZES.get(aspect_ratio, SQUARE) if isinstance(aspect_ratio, str) else SQUARE
    picture = pictures.draw(prompt, model, size, variant=variant)
    frames = [_sized(h264.frame(_with_bar(picture, number + 1), number)) for number in range(FRAMES)]
    ticks = max(1, round(seconds * TICKS_PER_SECOND / FRAMES))
    file_type = _box(b"ftyp", b"isom", struct.pack(">I", 0x200), b"isomiso2avc1mp41")
    # Where the frames begin depends on the length of what says so, which does not change with it.
    begin = len(file_type) + len(_index(size, frames, ticks, 0)) + 8
    return file_type + _index(size, frames, ticks, begin) + _box(b"mdat", *frames)


def _with_bar(picture: Image.Image, number: int) -> Image.Image:
    frame = picture.copy()
    end = picture.width * number // FRAMES
    ImageDraw.Draw(frame).rectangle((0, picture.height - 4, end, picture.height), fill=(255, 255, 255))
    return frame


def _sized(unit: bytes) -> bytes:
    return struct.pack(">I", len(unit)) + unit


def _box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I", len(content) + 8) + kind + content


def _full_box(kind: bytes, *parts: bytes, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", flags), *parts)


def _index(size: tuple[int, int], frames: list[bytes], ticks: int, begin: int) -> bytes:
    """The `moov` box: one track of frames that each last `ticks`, the first at byte `begin`."""
    duration = ticks * len(frames)
    movie_header = _full_box(
        b"mvhd",
        struct.pack(">4I", 0, 0, TICKS_PER_SECOND, duration),
        struct.pack(">IH10x", 0x10000, 0x100),
        _UNITY_MATRIX,
        struct.pack(">24xI", 2),
    )
    track_header = _full_box(
        b"tkhd",
        struct.pack(">5I", 0, 0, 1, 0, duration),
        struct.pack(">8x4H", 0, 0, 0, 0),
        _UNITY_MATRIX,
        struct.pack(">II", size[0] << 16, size[1] << 16),
        flags=3,
    )
    media_header = _full_box(
        b"mdhd", struct.pack(">4I", 0, 0, TICKS_PER_SECOND, duration), struct.pack(">HH", 0x55C4, 0)
    )
    handler = _full_box(b"hdlr", struct.pack(">I4s12x", 0, b"vide"), b"video\0")
    data_here = _box(b"dinf", _full_box(b"dref", struct.pack(">I", 1), _full_box(b"url ", flags=1)))
    information = _box(
        b"minf",
        _full_box(b"vmhd", struct.pack(">8x"), flags=1),
        data_here,
        _box(
            b"stbl",
            _full_box(b"stsd", struct.pack(">I", 1), _codec(size)),
            _full_box(b"stts", struct.pack(">3I", 1, len(frames), ticks)),
            _full_box(b"stsc", struct.pack(">4I", 1, 1, len(frames), 1)),
            _full_box(b"stsz", struct.pack(f">{2 + len(frames)}I", 0, len(frames), *map(len, frames))),
            _full_box(b"stco", struct.pack(">2I", 1, begin)),
        ),
    )
    return _box(b"moov", movie_header, _box(b"trak", track_header, _box(b"mdia", media_header, handler, information)))


def _codec(size: tuple[int, int]) -> bytes:
    """The `avc1` entry, with the parameter sets."""
    sequence, picture = h264.sequence_parameters(*size), h264.picture_parameters()
    configuration = _box(
        b"avcC",
        bytes([1, h264.PROFILE_BASELINE, h264.CONSTRAINTS, h264.LEVEL_3, 0xFF, 0xE1]),
        struct.pack(">H", len(sequence)) + sequence,
        b"\x01" + struct.pack(">H", len(picture)) + picture,
    )
    return _box(
        b"avc1",
        struct.pack(">6xH16xHH", 1, *size),
        struct.pack(">IIIH32xHh", 0x480000, 0x480000, 0, 1, 24, -1),
        configuration,
    )
