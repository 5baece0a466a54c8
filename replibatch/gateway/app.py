"""The application: all routes, the access log, readiness."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from replibatch.errors import ReplibatchError
from replibatch.gateway import metrics
from replibatch.gateway.context import Gateway
from replibatch.gateway.files import Uploads
from replibatch.gateway.models import Models
from replibatch.gateway.outputs import Outputs
from replibatch.gateway.predictions import Predictions
from replibatch.gateway.refusals import answer, problem
from replibatch.gateway.streams import Streams
from replibatch.sandbox.answers import phrase
from replibatch.sandbox.replies import Refusal, not_found

READY_SECONDS = 3.0
SECRET = re.compile(r"^(/outputs|/stream)/([^/]*)/[^/]*")
log = structlog.get_logger("replibatch.gateway")


def make_app(gateway: Gateway) -> Starlette:
    """The application of a gateway."""
    outputs = Outputs(gateway)

    async def ready(_: Request) -> Response:
        """Whether Redis answers."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                await gateway.ask(lambda redis: redis.ping())
        except (ReplibatchError, TimeoutError):
            return JSONResponse({"ready": False}, 503)
        return JSONResponse({"ready": not gateway.stopping.is_set()}, 503 if gateway.stopping.is_set() else 200)

    async def healthy(_: Request) -> Response:
        """Whether the process answers."""
        return JSONResponse({"healthy": True})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        gateway.stopping.set()

    app = Starlette(
        routes=[
            *Predictions(gateway).routes(),
            *Uploads(gateway).routes(),
            *Models(gateway).routes(),
            *outputs.routes(),
            *Streams(gateway, outputs).routes(),
            Route("/healthz", healthy),
            Route("/readyz", ready),
        ],
        exception_handlers={
            Refusal: answer,
            ReplibatchError: answer,
            HTTPException: _http_answer,
            Exception: answer,
        },
        lifespan=lifespan,
    )
    app.add_middleware(AccessLog)
    return app


async def _http_answer(request: Request, error: Exception) -> Response:
    """Starlette's own refusals, in the API's form."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    refusal = not_found() if status == 404 else problem(status, phrase(status), phrase(status))
    return await answer(request, refusal)


class AccessLog:
    """A line a request: who, what, how it ended. No query, no body, no header, and no token of an address.

    Args:
        app: the application behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            seconds = time.monotonic() - began
            metrics.count(scope["method"], scope["path"], status, seconds)
            path = SECRET.sub(r"\1/\2/…", scope["path"][:300])
            log.info(
                "request",
                method=scope["method"],
                path=path,
                status=status,
                key=scope.get("state", {}).get("tenant"),
                ms=round(seconds * 1000),
            )
