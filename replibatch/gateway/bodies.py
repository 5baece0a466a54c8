"""Requests' bodies: bounded in size and in time, as whoever sends them may be hostile, or slow."""

from __future__ import annotations

import asyncio
import re

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from replibatch.gateway.refusals import bad_request, body_too_large, too_slow

LARGEST_JSON_BYTES = 2_000_000  # files go to /v1/files
JSON_SECONDS = 30.0  # for a whole body of JSON
PIECE_SECONDS = 30.0  # between two pieces of an upload


async def read(request: Request, most_bytes: int = LARGEST_JSON_BYTES) -> bytes:
    """A body, whole.

    Raises:
        Refusal: 413 or 408.
    """
    _check_length(request, most_bytes)
    content = bytearray()
    try:
        async with asyncio.timeout(JSON_SECONDS):
            async for chunk in request.stream():
                content += chunk
                if len(content) > most_bytes:
                    raise body_too_large(most_bytes)
    except (TimeoutError, ClientDisconnect):
        raise too_slow() from None
    return bytes(content)


def bounded(request: Request, most_bytes: int) -> Request:
    """The same request, with a body that raises as soon as it is too large or too slow.

    Raises:
        Refusal: 413, by what the request says of its length.
    """
    _check_length(request, most_bytes)
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        try:
            async with asyncio.timeout(PIECE_SECONDS):
                message = await request.receive()
        except TimeoutError:
            raise too_slow() from None
        taken += len(message.get("body", b""))
        if taken > most_bytes:
            raise body_too_large(most_bytes)
        return message

    return Request(request.scope, receive)


def _check_length(request: Request, most_bytes: int) -> None:
    if "transfer-encoding" in request.headers and "content-length" in request.headers:
        raise bad_request("Transfer-Encoding and Content-Length exclude each other")
    length = request.headers.get("content-length", "0")
    if not re.fullmatch(r"[0-9]{1,15}", length) or int(length) > most_bytes:
        raise body_too_large(most_bytes)
