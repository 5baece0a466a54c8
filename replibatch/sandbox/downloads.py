"""Output files over HTTP: open to everybody who knows the address, as Replicate's are."""

from __future__ import annotations

import asyncio
import mimetypes
import re

from replibatch.sandbox import answers, media, replies
from replibatch.sandbox.faults import Phase
from replibatch.sandbox.handlers import JSONHandler

SLOW_PIECES = 20
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


def content_type(name: str) -> str:
    """What a file of that name is."""
    usual = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return media.TYPES.get(name.rpartition(".")[2], usual)


def _cut(kind: str, content: bytes) -> bytes:
    """What a fault leaves of a file that then counts as whole."""
    if kind == "half-output":
        return content[: len(content) // 2]
    return b"" if kind == "empty-output" else content


class Download(JSONHandler):
    """`GET /output/{prediction}/{file}`, whole or from a byte on."""

    async def get(self, prediction_id: str, name: str) -> None:
        service = self.service
        service.books.output_asked_for(prediction_id, with_token="Authorization" in self.request.headers)
        prediction = service.predictions.get(prediction_id)
        if prediction is None or not prediction.has_file(name) or service.is_erased(prediction):
            raise replies.not_found()
        fault = service.faults.draw(Phase.DOWNLOAD, prediction.model_name, prediction.prompt)
        kind = fault.kind if fault else ""
        order = answers.order(kind)
        if order and not await self.behave(order):
            return
        if kind == "expired-output":
            raise replies.not_found()
        content = self._part(_cut(kind, await service.outputs.content(prediction, name)))
        self.set_header("Content-Type", content_type(name))
        self.set_header("Content-Length", len(content))
        if kind == "truncated-output":
            await self._send_half(prediction_id, content)
            return
        if kind == "slow-output":
            content = await self._send_slowly(content)
        # In the books before the client has the last byte, and may read them.
        service.books.output_sent(prediction_id, whole=True)
        await self.finish(content)

    def _part(self, content: bytes) -> bytes:
        """The bytes that the request asks for; sets the status and the headers to match."""
        self.set_header("Accept-Ranges", "bytes")
        wanted = _RANGE.fullmatch(self.request.headers.get("Range", ""))
        if not wanted:
            return content
        first = int(wanted[1])
        last = min(int(wanted[2] or len(content) - 1), len(content) - 1)
        if first > last:
            raise replies.Refusal(416, {"detail": "Range not satisfiable", "status": 416})
        self.set_status(206)
        self.set_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        return content[first : last + 1]

    async def _send_half(self, prediction_id: str, content: bytes) -> None:
        """Promise the whole and close half-way; past tornado, which rightly refuses to."""
        await self.flush()
        stream = self.detach()
        await stream.write(content[: len(content) // 2])
        self.service.books.output_sent(prediction_id, whole=False)
        stream.close()

    async def _send_slowly(self, content: bytes) -> bytes:
        """Send piece by piece, in the time set; returns the last piece, still to be sent."""
        length = max(1, len(content) // SLOW_PIECES)
        pieces = [content[start : start + length] for start in range(0, len(content), length)]
        for piece in pieces[:-1]:
            self.write(piece)
            await self.flush()
            await asyncio.sleep(self.service.settings.slow_output_seconds / len(pieces))
        return pieces[-1]
