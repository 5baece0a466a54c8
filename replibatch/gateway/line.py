"""Where a prediction is in the line, and about how long it takes, by the limits: words for whoever watches it."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from typing import Any

from replibatch.broker.publish import HEAD, SINGLE
from replibatch.errors import QueueUnavailable
from replibatch.limits.outages import API, of_model
from replibatch.limits.status import AccountStatus
from replibatch.producer.producer import Producer
from replibatch.redisdb import keys
from replibatch.requests import State
from replibatch.served import Progress

STATUS_SECONDS = 5.0  # an account's status is read again after that, for all streams of the process together
ORDERS_OF_A_PRIORITY = 2**42  # in the limiter's line: limits/lua/limiter.lua


class Line:
    """The account's line, as one process sees it.

    Args:
        producer: its way to the queue.
    """

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._prefix = producer.settings.key_prefix
        self._status: AccountStatus | None = None
        self._read_at = -math.inf
        self._reading = asyncio.Lock()

    async def words(self, prediction_id: str, progress: Progress) -> str:
        """Why it waits, or its place and how long it takes; empty where that is not known."""
        status = await self._now()
        if status is None:
            return ""
        before = await self._before(prediction_id, progress)
        model = self._producer.catalog.models.get(progress.model)
        typical_seconds = model.typical_seconds if model else 0.0
        if reason := held_by(status, progress.model):
            return f"{reason}; {before:,} before it"
        seconds = seconds_left(status, before, self._producer.settings.rate_window_seconds, typical_seconds)
        return f"{before:,} before it, {about(seconds)} until it is made"

    async def _now(self) -> AccountStatus | None:
        async with self._reading:
            if time.monotonic() - self._read_at > STATUS_SECONDS:
                self._read_at = time.monotonic()
                with suppress(QueueUnavailable):
                    self._status = await self._producer.in_thread(self._read)
        return self._status

    def _read(self) -> AccountStatus:
        with self._producer.reaching():
            return self._producer.limiter.status()

    async def _before(self, prediction_id: str, progress: Progress) -> int:
        """How many attempts come to their create before it."""
        waiters = keys.WAITERS.at(self._prefix)
        if progress.state == State.RUNNING:
            attempt = f"{prediction_id}:{len(progress.attempts) + 1}"
            return int(await self._ask("zrank", waiters, attempt) or 0)
        head, single = (keys.QUEUED.at(self._prefix, priority) for priority in (HEAD, SINGLE))
        at_head, at_single, all_at_head, in_line = await asyncio.gather(
            self._ask("zrank", head, prediction_id),
            self._ask("zrank", single, prediction_id),
            self._ask("zcard", head),
            self._ask("zcount", waiters, "-inf", f"({(SINGLE + 1) * ORDERS_OF_A_PRIORITY}"),
        )
        queued = at_head if at_head is not None else all_at_head + (at_single or 0)
        return int(in_line + queued)

    async def _ask(self, command: str, *arguments: Any) -> Any:
        return await self._producer.hub.ask(lambda redis: getattr(redis, command)(*arguments))


def held_by(status: AccountStatus, model: str) -> str:
    """What keeps everything, or this model, from going on at all; empty for nothing."""
    if status.stop:
        return f"the account is stopped ({status.stop.kind})"
    if outages := [each.what for each in status.outages if each.name in (API, of_model(model))]:
        return outages[0]
    return "" if status.workers else "no worker is running"


def seconds_left(status: AccountStatus, before: int, window_seconds: float, typical_seconds: float) -> float:
    """Until a prediction is made, by the limits alone.

    Args:
        status: the account's limits and their use.
        before: attempts that come to their create before it.
        window_seconds: the length of a window.
        typical_seconds: how long one prediction takes.
    """
    per_window = max(1, min(status.per_window, status.learned_per_window or status.per_window))
    at_once = max(1, status.max_concurrent)
    windows = max(0, math.ceil((before + 1 - max(0, per_window - status.in_window)) / per_window))
    rounds = max(0, math.ceil((status.in_flight + before + 1 - at_once) / at_once))
    waits = max(status.cooling_down_seconds, windows * window_seconds, rounds * typical_seconds)
    return waits + typical_seconds


def about(seconds: float) -> str:
    """`about 40 s`, `about 3 min`."""
    return f"about {max(1, round(seconds))} s" if seconds < 100 else f"about {math.ceil(seconds / 60):,} min"
