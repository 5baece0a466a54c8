"""Waits for the end of a prediction, without a thread a wait."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from starlette.requests import Request

from replibatch.errors import AccountStopped
from replibatch.gateway.context import Gateway
from replibatch.redisdb import keys
from replibatch.served import Served

LOOK_SECONDS = 1.0  # whether the client is still there


async def until_over(gateway: Gateway, served: Served, seconds: float, request: Request) -> None:
    """Return once it is over, the time has passed, the client has gone, or the gateway stops."""
    name, ends = keys.GENERATION.at(gateway.prefix, served.id), time.monotonic() + seconds
    with gateway.producer.hub.waiting_for(served.id) as news:
        while (left := ends - time.monotonic()) > 0 and not gateway.stopping.is_set():
            if await gateway.ask(lambda redis: redis.hexists(name, "result")):
                return
            with suppress(TimeoutError, AccountStopped):  # the row tells what became of it
                await asyncio.wait_for(news(), min(left, LOOK_SECONDS))
            if await request.is_disconnected():
                return
