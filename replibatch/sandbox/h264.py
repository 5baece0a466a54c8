"""Just enough H.264 to show pictures: every macroblock raw (I_PCM), every frame an IDR frame, Baseline profile.

After ITU-T H.264: 7.3.2.1 (SPS), 7.3.2.2 (PPS), 7.3.3 (slice header), 7.3.5 (macroblock), 7.4.1.1 (escaping).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from PIL import Image

MACROBLOCK = 16  # pixels a side
PROFILE_BASELINE, CONSTRAINTS, LEVEL_3 = 66, 0xC0, 30
_I_PCM = 25
_I_SLICE = 7
# Raw samples in studio range, as players expect: black is 16, white 235. It also keeps zero bytes out.
_LUMA = [16 + round(level * 219 / 255) for level in range(256)]
_CHROMA = [128 + round((level - 128) * 224 / 255) for level in range(256)]


@dataclass
class _Bits:
    """A bit string being written, as text of 0 and 1: only headers are, and they are short."""

    text: str = field(default="")

    def fixed(self, value: int, width: int) -> _Bits:
        self.text += f"{value:0{width}b}"
        return self

    def exp_golomb(self, *values: int) -> _Bits:
        for value in values:
            digits = f"{value + 1:b}"
            self.text += "0" * (len(digits) - 1) + digits
        return self

    def aligned(self) -> bytes:
        text = self.text + "0" * (-len(self.text) % 8)
        return int(text, 2).to_bytes(len(text) // 8)


def sequence_parameters(width: int, height: int) -> bytes:
    """The SPS for frames of that many pixels, multiples of 16."""
    bits = _Bits().fixed(PROFILE_BASELINE, 8).fixed(CONSTRAINTS, 8).fixed(LEVEL_3, 8)
    # id, frame number of 4 bits, output in coding order, one reference frame, no gaps
    bits.exp_golomb(0, 0, 2, 1).fixed(0, 1)
    bits.exp_golomb(width // MACROBLOCK - 1, height // MACROBLOCK - 1)
    # frames only, 8x8 inference, no cropping, no VUI, stop bit
    return _unit(0x67, bits.fixed(0b11001, 5).aligned())


def picture_parameters() -> bytes:
    """The PPS: CAVLC, one slice group, and slices may say that they need no deblocking."""
    bits = _Bits().exp_golomb(0, 0).fixed(0, 2).exp_golomb(0, 0, 0).fixed(0, 3).exp_golomb(0, 0, 0)
    return _unit(0x68, bits.fixed(0b1001, 4).aligned())


def frame(image: Image.Image, number: int) -> bytes:
    """One IDR frame with the whole image in a slice.

    Args:
        image: of the size the SPS says.
        number: of the frame; two neighbours differ in their `idr_pic_id`.
    """
    header = _Bits().exp_golomb(0, _I_SLICE, 0).fixed(0, 4).exp_golomb(number % 2)
    header.fixed(0, 2).exp_golomb(0, 1)  # nothing to keep from before, no change of QP, no deblocking
    first = header.exp_golomb(_I_PCM).aligned()
    following = _Bits().exp_golomb(_I_PCM).aligned()
    return _unit(0x65, first + following.join(_macroblocks(image)) + b"\x80")


def _macroblocks(image: Image.Image) -> list[bytes]:
    """The raw samples of each macroblock, row by row: 256 of luma, then 64 of each chroma."""
    luma, blue, red = image.convert("YCbCr").split()
    half = (image.width // 2, image.height // 2)
    planes = [
        (luma.point(_LUMA).tobytes(), MACROBLOCK, image.width),
        (blue.resize(half, Image.Resampling.BOX).point(_CHROMA).tobytes(), MACROBLOCK // 2, half[0]),
        (red.resize(half, Image.Resampling.BOX).point(_CHROMA).tobytes(), MACROBLOCK // 2, half[0]),
    ]
    return [
        b"".join(
            samples[start : start + side]
            for samples, side, stride in planes
            for start in range((row * side) * stride + column * side, (row + 1) * side * stride, stride)
        )
        for row in range(image.height // MACROBLOCK)
        for column in range(image.width // MACROBLOCK)
    ]


def _unit(header: int, payload: bytes) -> bytes:
    """A NAL unit: the payload with no start code in it."""
    return bytes([header]) + re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", payload)
