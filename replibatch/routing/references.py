"""Where an image that goes along with a prompt is: a local file, a URL or a data URI."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from replibatch import contents
from replibatch.data_uris import decoded
from replibatch.errors import ReferenceImageError
from replibatch.requests import OutputFile
from replibatch.steps import output_of

LARGEST_BYTES = 100_000_000  # Replicate's files API takes 100 MB
SHOWN_CHARACTERS = 60  # of a data URI
KEPT = re.compile(r"file:([0-9a-f]{64}\.[a-z0-9]{1,8})")  # in the storage, by content; a prompt may begin like it
ALLOWED = "a path, an http(s) URL or a data URI"
SEVERAL = 'a JSON list, as in ["a.png", "b.png"]'
_ANOTHER = re.compile(r"[\s,;|]https?://")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


def places(name: str, value: Any, folder: Path) -> list[str]:
    """Where the files of an input are: absolute paths, http(s) URLs and data URIs.

    Args:
        name: the input's.
        value: a path, a URL, a data URI, an open file, an output (ours, or the client's `FileOutput`), or a list.
        folder: where relative paths start.

    Raises:
        ReferenceImageError: naming the input, the value found and the values allowed.
    """
    if isinstance(value, list | tuple):
        return [place for each in value for place in places(name, each, folder)]
    return [_place(name, value, folder)]


def _place(name: str, value: Any, folder: Path) -> str:
    if isinstance(value, OutputFile):
        value = value.path if Path(value.path).is_file() else value.url
    elif hasattr(value, "read"):  # an open file, or a FileOutput
        value = getattr(value, "name", None) or getattr(value, "url", value)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ReferenceImageError(f"{name} is {value!r}; allowed: {ALLOWED}, or a list of them")
    if value.startswith("data:"):
        if value.partition(",")[2]:
            return value
        raise ReferenceImageError(f"{name} is {shown(value)!r}, a data URI without data")
    if KEPT.fullmatch(value) or output_of(value):
        return value
    if not (scheme := _SCHEME.match(value)):
        return os.path.abspath(folder / value)  # noqa: PTH100  # `resolve` would follow links
    address = urlsplit(value)
    match scheme[1].lower():
        case "file":
            from urllib.request import url2pathname  # noqa: PLC0415  # it brings an HTTP client along

            return url2pathname(address.path)
        case "http" | "https" if address.hostname:
            return value
    raise ReferenceImageError(f"{name} is {value!r}; allowed: {ALLOWED}")


def is_address(text: str) -> bool:
    """Whether a text is a URL or a data URI."""
    return text.startswith("data:") or _SCHEME.match(text) is not None


def is_local(place: str) -> bool:
    """Whether a place is a file of this machine."""
    return Path(place).is_absolute()


def check_file(place: str | Path) -> None:
    """Refuse a file that cannot be sent; only the model can judge the content behind a URL.

    Args:
        place: a path, a URL or a data URI.

    Raises:
        ReferenceImageError: it is missing, no file, empty, unreadable, malformed or past 100 MB.
    """
    with _opened(place):
        pass


def check_image(place: str | Path) -> None:
    """Refuse a file that is no image.

    Raises:
        ReferenceImageError: as `check_file`, or it is not an image.
    """
    with _opened(place) as file:
        if file is None:
            return
        from PIL import Image  # noqa: PLC0415  # most requests have no image

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # large or oddly tagged, yet an image
                with Image.open(file) as image:
                    image.verify()
        except Exception as error:  # noqa: BLE001  # Pillow's plugins raise what they like on malformed files
            raise ReferenceImageError(f"{shown(place)}: not an image ({type(error).__name__})") from None


def shown(place: str | Path) -> str:
    """A place for people: no more than the head of a data URI."""
    text = str(place)
    return f"{text[:SHOWN_CHARACTERS]}…" if text.startswith("data:") and len(text) > SHOWN_CHARACTERS else text


@contextmanager
def _opened(place: str | Path) -> Iterator[BinaryIO | None]:
    """A file, found fit to be sent; None for one behind a URL."""
    if isinstance(place, str) and place.startswith("data:"):
        try:
            content: BinaryIO = BytesIO(b"".join(decoded(place)))
        except ValueError as error:
            raise ReferenceImageError(f"{shown(place)}: a malformed data URI ({error})") from None
    elif isinstance(place, str) and (_SCHEME.match(place) or KEPT.fullmatch(place)):
        if several := len(_ANOTHER.findall(place)):
            raise ReferenceImageError(f"{shown(place)}: {several + 1} addresses; expected for several: {SEVERAL}")
        yield None
        return
    else:
        content = _opened_path(Path(place))
    with content:
        size = content.seek(0, os.SEEK_END)
        content.seek(0)
        if size == 0:
            raise ReferenceImageError(f"{shown(place)}: an empty file")
        if size > LARGEST_BYTES:
            most = f"at most {LARGEST_BYTES / 1e6:.0f} MB"
            raise ReferenceImageError(f"{shown(place)}: {size / 1e6:.0f} MB; allowed: {most}")
        yield content


def _opened_path(path: Path) -> BinaryIO:
    if path.is_dir():
        raise ReferenceImageError(f"{path}: a folder; allowed: a file")
    try:
        return contents.opened(path)
    except FileNotFoundError:
        several = re.search(r"\.\w{3,4}\s*[,;|]\s*\S", str(path))
        hint = f"; expected for several files: {SEVERAL}" if several else ""
        if " " in path.name and not path.suffix:
            hint = "; where it is a prompt, and no picture: --map prompt=COLUMN"
        raise ReferenceImageError(f"{path}: no such file{hint}") from None
    except (OSError, ValueError) as error:
        raise ReferenceImageError(f"{path}: cannot be read ({getattr(error, 'strerror', error)})") from None
