"""Files that are no still pictures: small, whole, and of the kind their name says."""

from __future__ import annotations

import base64
import io
import json
import struct
import wave
import zipfile
from collections.abc import Callable
from html import escape

from PIL import Image

from replibatch.sandbox import pictures

# A small grey picture, for an output that travels inside its prediction.
GREY_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000010000000090802000000b4483b6500000017494441"
    "5478da63ace859c0400a606220118c6aa0890600e16c01b63c49111a0000000049454e44ae426082"
)
GREY_BASE64 = base64.b64encode(GREY_PNG).decode()
# Five seconds of MPEG-1 layer III, 128 kbit/s at 44.1 kHz: each frame a header and nothing to hear.
SILENCE = (bytes.fromhex("fffb9000") + bytes(413)) * 192
SAMPLE_RATE = 16_000
BLOCK_SAMPLES = 4096
Size = tuple[int, int]


def svg(prompt: str, model: str, size: Size) -> bytes:
    """A drawing with the prompt on it."""
    width, height = size
    words = f'<text x="8" y="{height // 2}" fill="white">{escape(prompt)} · {escape(model)}</text>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
    return f'{head}<rect width="{width}" height="{height}" fill="teal"/>{words}</svg>'.encode()


def gif(prompt: str, model: str, size: Size) -> bytes:
    """Two frames."""
    first, second = (pictures.draw(prompt, model, size, variant=variant) for variant in ("0", "1"))
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=[second], duration=500, loop=0)
    return buffer.getvalue()


def wav(*_: object) -> bytes:
    """A second of silence."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SAMPLE_RATE)
        sound.writeframes(bytes(2 * SAMPLE_RATE))
    return buffer.getvalue()


def flac(*_: object) -> bytes:
    """About a second of silence: each frame one constant subframe."""
    blocks = 4
    rate_channels_bits = SAMPLE_RATE << 12 | 0 << 9 | 15 << 4  # mono, 16 bits
    info = struct.pack(">HH", BLOCK_SAMPLES, BLOCK_SAMPLES) + bytes(6)
    info += rate_channels_bits.to_bytes(4) + (blocks * BLOCK_SAMPLES).to_bytes(4) + bytes(16)
    frames = b"".join(_flac_frame(number) for number in range(blocks))
    return b"fLaC" + bytes([0x80]) + len(info).to_bytes(3) + info + frames


def _flac_frame(number: int) -> bytes:
    # Sync, fixed block size of 4096, 16 kHz; mono, 16 bits; the frame's number.
    head = bytes([0xFF, 0xF8, 0xC5, 0x08, number])
    head += bytes([_crc(head, 0x07, 8)])
    frame = head + bytes([0x00]) + bytes(2)  # a constant subframe, of 0
    return frame + _crc(frame, 0x8005, 16).to_bytes(2)


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    value, top = 0, 1 << bits - 1
    for byte in data:
        value ^= byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & (1 << bits) - 1
    return value


def glb(*_: object) -> bytes:
    """One triangle."""
    points = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0)
    scene = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0]}
        ],
        "bufferViews": [{"buffer": 0, "byteLength": len(points)}],
        "buffers": [{"byteLength": len(points)}],
    }
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(points), b"BIN\0") + points
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def archive(prompt: str, model: str, size: Size) -> bytes:
    """A picture and a text."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as folder:
        folder.writestr("0.png", pictures.render(prompt, model, size, "png"))
        folder.writestr("prompt.txt", prompt)
    return buffer.getvalue()


def webm(prompt: str, model: str, size: Size) -> bytes:
    """One picture as a VP8 key frame, which is what a lossy WebP holds."""
    width, height = size
    buffer = io.BytesIO()
    image: Image.Image = pictures.draw(prompt, model, size)
    image.save(buffer, "WEBP", quality=80)
    content = buffer.getvalue()
    start = content.index(b"VP8 ")
    frame = content[start + 8 : start + 8 + int.from_bytes(content[start + 4 : start + 8], "little")]
    head = _element(
        0x1A45DFA3,
        _number(0x4286, 1) + _number(0x42F7, 1) + _number(0x42F2, 4) + _number(0x42F3, 8)
        + _element(0x4282, b"webm") + _number(0x4287, 2) + _number(0x4285, 2),
    )  # fmt: skip
    info = _number(0x2AD7B1, 1_000_000) + _element(0x4489, struct.pack(">d", 1000.0))
    info += _element(0x4D80, b"replibatch") + _element(0x5741, b"replibatch")
    track = _number(0xD7, 1) + _number(0x73C5, 1) + _number(0x83, 1) + _element(0x86, b"V_VP8")
    track += _element(0xE0, _number(0xB0, width) + _number(0xBA, height))
    block = _element(0xA3, bytes([0x81, 0, 0, 0x80]) + frame)
    cluster = _element(0x1F43B675, _number(0xE7, 0) + block)
    parts = _element(0x1549A966, info) + _element(0x1654AE6B, _element(0xAE, track)) + cluster
    return head + _element(0x18538067, parts)


def _element(identity: int, content: bytes) -> bytes:
    """An EBML element, its size always eight bytes long."""
    name = identity.to_bytes((identity.bit_length() + 7) // 8)
    return name + (1 << 56 | len(content)).to_bytes(8) + content


def _number(identity: int, value: int) -> bytes:
    return _element(identity, value.to_bytes(max(1, (value.bit_length() + 7) // 8)))


MAKERS: dict[str, Callable[[str, str, Size], bytes]] = {
    "svg": svg,
    "gif": gif,
    "wav": wav,
    "flac": flac,
    "glb": glb,
    "zip": archive,
    "webm": webm,
    "mp3": lambda *_: SILENCE,
    "txt": lambda prompt, *_: f"1\n00:00:00,000 --> 00:00:01,500\n{prompt}\n".encode(),
    "json": lambda prompt, *_: json.dumps({"prompt": prompt}).encode(),
}
EXTENSIONS = (*MAKERS, "png", "webp", "jpg", "mp4")  # all that can be asked for
TYPES = {
    "flac": "audio/flac",
    "glb": "model/gltf-binary",
    "webm": "video/webm",
    "svg": "image/svg+xml",
    "webp": "image/webp",
}
