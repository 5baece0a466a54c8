"""Predictions that run until a test lets them go: what has to be in flight together is, on any machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from replibatch.sandbox import Sandbox
from replibatch.sandbox.predictions import Prediction


def hold(sandbox: Sandbox) -> Callable[[], None]:
    """From now on no prediction of a stand-in ends.

    Args:
        sandbox: one that serves.

    Returns:
        What lets them go: those in flight end, and later ones take their usual time.
    """
    service, loop = sandbox._service, sandbox._loop
    work, is_over = service._work, asyncio.Event()

    async def wait(prediction: Prediction, course: str) -> None:
        await work(prediction, course)
        await is_over.wait()

    def let_go() -> None:
        assert loop is not None
        loop.call_soon_threadsafe(is_over.set)
        service._work = work  # type: ignore[method-assign]

    service._work = wait  # type: ignore[method-assign]
    return let_go
