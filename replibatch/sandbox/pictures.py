"""The images the stand-in makes: a gradient that the prompt seeds, with the prompt and the model's name on it.

A small one has no room for words.
"""

from __future__ import annotations

import colorsys
import hashlib
import io
import unicodedata
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

SQUARE = (1, 1)
LEAST_LEGIBLE_PIXELS = 96  # a smaller picture has no room for a legible word
_PLAIN_PUNCTUATION = {0x2013: "-", 0x2014: "-", 0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"'}
# From teal over blue and violet to red; greens that look like mud are left out.
_HUES = (0.48, 0.54, 0.60, 0.66, 0.72, 0.78, 0.85, 0.91)


def size_of(aspect_ratio: object, long_edge_pixels: int) -> tuple[int, int]:
    """Width and height in pixels for an `aspect_ratio` input; a square for anything but `w:h`."""
    width, height = SQUARE
    if isinstance(aspect_ratio, str):
        left, _, right = aspect_ratio.partition(":")
        if left.isdigit() and right.isdigit() and int(left) and int(right):
            width, height = int(left), int(right)
    longest = max(width, height)
    return max(1, long_edge_pixels * width // longest), max(1, long_edge_pixels * height // longest)


def render(prompt: str, model: str, size: tuple[int, int], extension: str, *, variant: str = "") -> bytes:
    """Make one image.

    Args:
        prompt: written on it, as far as there is room; decides the colours.
        model: its name, in the lower corner.
        size: width and height in pixels.
        extension: of a format that Pillow writes; PNG for any other.
        variant: anything that tells two images of one prompt apart.
    """
    pillow_format = Image.registered_extensions().get(f".{extension}", "PNG")
    buffer = io.BytesIO()
    draw(prompt, model, size, variant=variant).save(buffer, pillow_format, quality=85)
    return buffer.getvalue()


def draw(prompt: str, model: str, size: tuple[int, int], *, variant: str = "") -> Image.Image:
    """The image itself; arguments as for `render`."""
    image = _gradient(hashlib.sha256(f"{model}\n{prompt}\n{variant}".encode()).digest(), size)
    if min(size) >= LEAST_LEGIBLE_PIXELS:
        _write(image, _legible(prompt), model)
    return image


def _gradient(seed: bytes, size: tuple[int, int]) -> Image.Image:
    """Two related hues across the picture, and a glow of a third: dark enough for white text."""
    hue = _HUES[seed[0] % len(_HUES)] + seed[1] / 256 * 0.05
    first, second = _colour(hue, 0.78, 0.30), _colour(hue + 0.07, 0.72, 0.58)
    glow = _colour(hue + 0.14 + seed[2] / 256 * 0.06, 0.62, 0.86)
    ramp = _ramp(seed[3]).resize(size, Image.Resampling.BICUBIC)
    image = Image.composite(Image.new("RGB", size, second), Image.new("RGB", size, first), ramp)
    radius = max(size)
    spot = _spot().resize((2 * radius, 2 * radius))
    left, top = size[0] * seed[4] // 256 - radius, size[1] * seed[5] // 256 - radius
    image.paste(Image.new("RGB", spot.size, glow), (left, top), spot)
    return image


# Drawn once: for a small picture they cost more than all the rest, and benchmarks share this machine's cores.
@lru_cache(maxsize=256)
def _ramp(turn: int) -> Image.Image:
    """From black to white, turned by so many 256ths of a circle."""
    turned = Image.linear_gradient("L").rotate(turn * 360 / 256, Image.Resampling.BICUBIC)
    return turned.crop((56, 56, 200, 200))


@lru_cache(maxsize=1)
def _spot() -> Image.Image:
    return Image.radial_gradient("L").point(lambda level: max(0, 200 - level))


def _colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _write(image: Image.Image, prompt: str, model: str) -> None:
    short = min(image.size)
    margin = max(4, short // 14)
    small = _font(max(8, short // 30))
    room = (image.width - 2 * margin, image.height - 3 * margin - small.size)
    draw = ImageDraw.Draw(image, "RGBA")
    for points in (short // 11, short // 15, short // 20, short // 28):
        font = _font(max(8, points))
        lines = _wrap(prompt, font, room[0])
        line_height = font.size * 1.28
        if len(lines) * line_height <= room[1]:
            break
    lines = lines[: max(1, int(room[1] // line_height))]
    shadow = max(1, font.size // 18)
    for number, line in enumerate(lines):
        place = (margin, margin + number * line_height)
        draw.text((place[0] + shadow, place[1] + shadow), line, font=font, fill=(0, 0, 0, 80))
        draw.text(place, line, font=font, fill=(255, 255, 255, 255))
    draw.text((margin, image.height - margin - small.size), model, font=small, fill=(255, 255, 255, 200))


@lru_cache(maxsize=32)
def _font(points: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(points)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType")
    return font


def _legible(text: str) -> str:
    """The text in the letters Pillow's own font has: accents dropped, other scripts left out."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_PLAIN_PUNCTUATION))
    return " ".join("".join(letter for letter in decomposed if letter.isspace() or " " <= letter <= "~").split())


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """The text in lines no wider than that; a word that is wider on its own is broken."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}".lstrip()
        if font.getlength(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        line = word
        while len(line) > 1 and font.getlength(line) > width:
            fitting = max(1, int(len(line) * width / font.getlength(line)))
            lines.append(line[:fitting])
            line = line[fitting:]
    return [*lines, line] if line else lines
