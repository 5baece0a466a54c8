"""Live progress of a prediction as server-sent events, as the official clients read them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from replibatch.errors import AccountStopped
from replibatch.gateway.context import Gateway
from replibatch.gateway.line import Line
from replibatch.gateway.outputs import Outputs
from replibatch.served import Served
from replibatch.served.view import Json

LOOK_SECONDS = 1.0  # how often it is looked for a change that nobody announces
QUIET_SECONDS = 15.0  # then a comment keeps the connection
LONGEST_SECONDS = 3600.0


class Streams:
    """Their route.

    Args:
        gateway: the process's.
        outputs: opens a prediction by the token in an address.
    """

    def __init__(self, gateway: Gateway, outputs: Outputs) -> None:
        self._gateway = gateway
        self._outputs = outputs
        self._line = Line(gateway.producer)

    def routes(self) -> Sequence[Route]:
        """All of them."""
        return [Route("/stream/{id}/{token}", self.get, methods=["GET"])]

    async def get(self, request: Request) -> Response:
        """Events `logs`, `output`, `error`, `done`."""
        served = await self._outputs.opened(request.path_params["id"], request.path_params["token"])
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        events = self._events(served, self._gateway.base(request))
        return StreamingResponse(events, headers=headers, media_type="text/event-stream")

    async def _events(self, served: Served, base: str) -> AsyncIterator[str]:
        gateway, told, number = self._gateway, "", 0
        ends, heard = time.monotonic() + LONGEST_SECONDS, time.monotonic()
        with gateway.producer.hub.waiting_for(served.id) as news:
            while time.monotonic() < ends and not gateway.stopping.is_set():
                row = await gateway.row(served, base, self._line)
                words = row["logs"] or f"{row['status']}\n"
                if fresh := new_lines(told, words):
                    number, heard = number + 1, time.monotonic()
                    yield _event("logs", fresh, number)
                told = words
                if row["completed_at"] or row["data_removed"]:
                    for event in _last(row, number):
                        yield event
                    return
                if time.monotonic() - heard > QUIET_SECONDS:
                    heard = time.monotonic()
                    yield ": waiting\n\n"
                with suppress(TimeoutError, AccountStopped):
                    await asyncio.wait_for(news(), LOOK_SECONDS)
                served = await gateway.any_served(served.id) or served


def new_lines(told: str, words: str) -> str:
    """The lines of `words` that were not told before."""
    before = set(told.splitlines())
    return "".join(f"{line}\n" for line in words.splitlines() if line not in before)


def _last(row: Json, number: int) -> list[str]:
    """The events of its end."""
    output = row["output"]
    pieces = output if isinstance(output, list) else [] if output is None else [output]
    events = [_event("output", each if isinstance(each, str) else json.dumps(each), number) for each in pieces]
    if row["status"] == "failed":
        return [_event("error", json.dumps({"detail": row["error"]}), number + 1)]
    reason = {"reason": "canceled"} if row["status"] == "canceled" else {}
    return [*events, _event("done", json.dumps(reason), number + 1)]


def _event(name: str, data: str, number: int) -> str:
    lines = "".join(f"data: {line}\n" for line in data.split("\n"))
    return f"event: {name}\nid: {number}:0\n{lines}\n"
