"""Cells that are pictures, whatever their column is called."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from replibatch.file_formats import recognise
from replibatch.routing.near import plain

LONGEST_PATH = 1000  # characters
_ADDRESS = re.compile(r"https?://\S+", re.IGNORECASE)
_FILE = re.compile(r"[^\n]*\.(jpe?g|jfif|png|webp|gif|bmp|tiff?|avif|heic|heif)(\?\S*)?", re.IGNORECASE)
_NAME = re.compile(r"image|img|photo|picture|pic|frame|thumb|reference|mask")


def is_picture(value: Any, column: str, folder: Path) -> bool:
    """Whether a cell is an image: a file there, a name with an image's extension, or an image's address.

    Args:
        value: of the cell.
        column: its column.
        folder: where relative paths start.
    """
    if isinstance(value, list):
        return any(is_picture(each, column, folder) for each in value)
    if not isinstance(value, str) or len(value) > LONGEST_PATH:
        return isinstance(value, str) and value.startswith("data:image/")
    text = value.strip()
    if text.startswith("data:image/") or ("." in text and " " not in text and _FILE.fullmatch(text)):
        return True
    if _ADDRESS.fullmatch(text):
        return bool(_NAME.search(plain(column)))
    return ("." in text or "/" in text) and "\n" not in text and _is_there(folder / text)


def _is_there(path: Path) -> bool:
    try:
        return path.is_file() and recognise(path) is not None
    except (OSError, ValueError):
        return False
