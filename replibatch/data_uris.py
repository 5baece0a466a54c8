"""Files inside a `data:` URI."""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

CHUNK_CHARACTERS = 256 * 1024  # a multiple of 4: base64 is decoded in whole groups

_HEADER = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(;[\w.+-]+(=[^;,\s]*)?)*,", re.IGNORECASE)


def is_data_uri(text: str) -> bool:
    """Whether a text is one, by its head."""
    return _HEADER.match(text) is not None


def decoded(uri: str) -> Iterator[bytes]:
    """The bytes of a `data:` URI, a piece at a time.

    Raises:
        ValueError: it is malformed.
    """
    header, _, payload = uri.partition(",")
    if not header.lower().endswith(";base64"):
        yield unquote_to_bytes(payload)
        return
    if "%" in payload:
        payload = unquote_to_bytes(payload).decode("ascii", "replace")
    payload = "".join(payload.split()).rstrip("=").translate(str.maketrans("-_", "+/"))
    payload += "=" * (-len(payload) % 4)
    try:
        for start in range(0, len(payload), CHUNK_CHARACTERS):
            yield base64.b64decode(payload[start : start + CHUNK_CHARACTERS], validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error


def extension_of(uri: str) -> str:
    """The extension, without its dot, that suits what a `data:` URI says it is; `bin` where it does not say."""
    found = _HEADER.match(uri)
    kind = found[1] if found else None
    return ((kind and mimetypes.guess_extension(kind)) or ".bin").removeprefix(".")
