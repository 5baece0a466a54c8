"""Files inside a `data:` URI."""

from __future__ import annotations

import binascii
import mimetypes
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

CHUNK_CHARACTERS = 256 * 1024

_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_WHITE = b" \t\r\n\f\v"

_HEADER = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(;[\w.+-]+(=[^;,\s]*)?)*,", re.IGNORECASE)


def is_data_uri(text: str) -> bool:
    """Whether a text is one, by its head."""
    return _HEADER.match(text) is not None


def decoded(uri: str) -> Iterator[bytes]:
    """The bytes of a `data:` URI, a piece at a time.

    Raises:
        ValueError: it is malformed.
    """
    start = uri.find(",") + 1
    is_base64 = uri[: max(0, start - 1)].lower().endswith(";base64")
    pieces = _unquoted(uri, start)
    if not is_base64:
        yield from pieces
        return
    rest = b""
    try:
        for piece in pieces:
            letters = rest + piece.translate(_URL_SAFE, _WHITE)
            whole = len(letters) - len(letters) % 4
            if b"=" in letters:  # the end: what follows the padding is checked below
                whole = 0
            yield binascii.a2b_base64(letters[:whole], strict_mode=True)
            rest = letters[whole:]
        rest = rest.rstrip(b"=")
        yield binascii.a2b_base64(rest + b"=" * (-len(rest) % 4), strict_mode=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error


def _unquoted(uri: str, start: int) -> Iterator[bytes]:
    """The bytes from a place on, `%41` as `A`: a piece at a time, so that a large one is in memory once."""
    while start < len(uri):
        end = start + CHUNK_CHARACTERS
        piece = uri[start:end]
        if end < len(uri) and "%" in piece[-2:]:  # never between a percent sign and its digits
            end = start + piece.rindex("%")
            piece = uri[start:end]
        yield unquote_to_bytes(piece)
        start = end


def extension_of(uri: str) -> str:
    """The extension, without its dot, that suits what a `data:` URI says it is; `bin` where it does not say."""
    found = _HEADER.match(uri)
    kind = found[1] if found else None
    return ((kind and mimetypes.guess_extension(kind)) or ".bin").removeprefix(".")
