"""Where an image that goes along with a prompt is: a local file, a URL or a data URI."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from PIL import Image

from replibatch.errors import ReferenceImageError

LARGEST_BYTES = 100_000_000  # Replicate's files API takes 100 MB
ALLOWED = "a path, an http(s) URL or a data URI"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


def places(name: str, value: Any, folder: Path) -> list[str]:
    """Where the files of an input are: absolute paths, http(s) URLs and data URIs.

    Args:
        name: the input's.
        value: a path, a URL, a data URI, an open file, or a list of these.
        folder: where relative paths start.

    Raises:
        ReferenceImageError: naming the input, what was found and what is allowed.
    """
    if isinstance(value, list | tuple):
        return [place for each in value for place in places(name, each, folder)]
    return [_place(name, value, folder)]


def _place(name: str, value: Any, folder: Path) -> str:
    if hasattr(value, "read"):  # an open file
        value = getattr(value, "name", value)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ReferenceImageError(f"{name} is {value!r}; allowed: {ALLOWED}, or a list of them")
    if value.startswith("data:"):
        if value.partition(",")[2]:
            return value
        raise ReferenceImageError(f"{name} is {value[:60]!r}, a data URI without data")
    if not (scheme := _SCHEME.match(value)):
        return os.path.abspath(folder / value)  # noqa: PTH100  # `resolve` would follow links
    address = urlsplit(value)
    match scheme[1].lower():
        case "file":
            return url2pathname(address.path)
        case "http" | "https" if address.hostname:
            return value
    raise ReferenceImageError(f"{name} is {value!r}; allowed: {ALLOWED}")


def is_local(place: str) -> bool:
    """Whether a place is a file of this machine."""
    return Path(place).is_absolute()


def check_local_file(path: str | Path) -> None:
    """Refuse a file that cannot be sent.

    Raises:
        ReferenceImageError: it is missing, no file, empty, unreadable or past 100 MB.
    """
    path = Path(path)
    if path.is_dir():
        raise ReferenceImageError(f"{path}: a folder; allowed: a file")
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
    except FileNotFoundError:
        raise ReferenceImageError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise ReferenceImageError(f"{path}: cannot be read ({getattr(error, 'strerror', error)})") from None
    if size == 0:
        raise ReferenceImageError(f"{path}: an empty file")
    if size > LARGEST_BYTES:
        raise ReferenceImageError(f"{path}: {size / 1e6:.0f} MB; allowed: at most {LARGEST_BYTES / 1e6:.0f} MB")


def check_local_image(path: str | Path) -> None:
    """Refuse a file that is no image.

    Raises:
        ReferenceImageError: as `check_local_file`, or it is not an image.
    """
    check_local_file(path)
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")  # large or oddly tagged, yet an image
            image.verify()
    except Exception as error:  # noqa: BLE001  # Pillow's plugins raise what they like on malformed files
        raise ReferenceImageError(f"{path}: not an image ({type(error).__name__})") from None
