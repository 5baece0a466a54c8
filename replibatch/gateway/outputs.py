"""Outputs: the files that a result names, at addresses nobody can guess, whole or in ranges. There is no listing."""

from __future__ import annotations

import asyncio
import mimetypes
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import PurePath

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from replibatch.gateway.context import Gateway
from replibatch.requests import OutputFile
from replibatch.sandbox.replies import not_found
from replibatch.served import Served

RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
NUMBER = re.compile(r"[0-9]{1,6}")
ACTIVE = ("text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "application/xml")


class Outputs:
    """Their route.

    Args:
        gateway: the process's.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def routes(self) -> Sequence[Route]:
        """All of them."""
        return [Route("/outputs/{id}/{token}/{number}/{name}", self.get, methods=["GET", "HEAD"])]

    async def get(self, request: Request) -> Response:
        """One file of a result."""
        served = await self.opened(request.path_params["id"], request.path_params["token"])
        progress = await self._gateway.progress(served)
        files = progress.result.files if progress.result and progress.result.success else ()
        number = int(request.path_params["number"]) if NUMBER.fullmatch(request.path_params["number"]) else len(files)
        if number >= len(files) or PurePath(files[number].path).name != request.path_params["name"]:
            raise not_found()
        return await self._sent(request, files[number])

    async def opened(self, prediction_id: str, token: str) -> Served:
        """The prediction that a token opens.

        Raises:
            Refusal: 404.
        """
        served = await self._gateway.any_served(prediction_id)
        if served is None or not served.token or not secrets.compare_digest(served.token.encode(), token.encode()):
            raise not_found()
        return served

    async def _sent(self, request: Request, file: OutputFile) -> Response:
        size = file.size_bytes if file.size_bytes is not None else await asyncio.to_thread(_size, file)
        kind = mimetypes.guess_type(file.path)[0] or "application/octet-stream"
        headers = {
            "Accept-Ranges": "bytes",
            "Cache-Control": "private, max-age=3600",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "ETag": f'"{file.sha256}"',
        }
        if kind in ACTIVE:  # a model's output, on the address of the API
            headers["Content-Disposition"] = "attachment"
        if file.sha256 and request.headers.get("if-none-match", "") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        first, last, status = 0, size - 1, 200
        asked = RANGE.fullmatch(request.headers.get("range", ""))
        if asked and asked[0] != "bytes=-" and request.headers.get("if-range", headers["ETag"]) == headers["ETag"]:
            first, last = _bounds(asked, size)
            if first > last:
                return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
            status = 206
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        headers["Content-Length"] = str(last - first + 1)
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers, media_type=kind)
        return StreamingResponse(_pieces(file, first, last), status, headers, kind)


def _bounds(asked: re.Match[str], size: int) -> tuple[int, int]:
    """The first and the last byte that a range names; the first behind the last where there is none."""
    start, end = asked[1], asked[2]
    if not start:
        return (max(0, size - int(end)), size - 1) if int(end) else (1, 0)
    return int(start), min(int(end), size - 1) if end else size - 1


def _size(file: OutputFile) -> int:
    return sum(map(len, file))


async def _pieces(file: OutputFile, first: int, last: int) -> AsyncIterator[bytes]:
    chunks = _within(iter(file), first, last)
    while chunk := await asyncio.to_thread(next, chunks, b""):
        yield chunk


def _within(chunks: Iterator[bytes], first: int, last: int) -> Iterator[bytes]:
    at = 0
    for chunk in chunks:
        part = chunk[max(0, first - at) : max(0, last + 1 - at)]
        if part:
            yield part
        at += len(chunk)
        if at > last:
            return
