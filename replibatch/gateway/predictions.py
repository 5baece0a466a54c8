"""The routes of predictions: create, get, list, cancel."""

from __future__ import annotations

import asyncio
import base64
import binascii
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replibatch.gateway import bodies, lanes
from replibatch.gateway.context import Gateway
from replibatch.gateway.creates import LONGEST_KEY, accept, parsed
from replibatch.gateway.refusals import bad_request
from replibatch.gateway.tenants import Tenant
from replibatch.gateway.waiting import until_over
from replibatch.redisdb import keys
from replibatch.sandbox.creates import PREFER
from replibatch.sandbox.durations import wait_seconds
from replibatch.sandbox.replies import InvalidField, invalid
from replibatch.served import Progress, Served, view
from replibatch.served.record import served_read
from replibatch.served.view import Json, body_of

PAGE = 100
OPEN = ("starting", "processing")


class Predictions:
    """Their routes.

    Args:
        gateway: the process's.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def routes(self) -> Sequence[Route]:
        """All of them."""
        return [
            Route("/v1/predictions", self.list_all, methods=["GET"]),
            Route("/v1/predictions", self.create, methods=["POST"]),
            Route("/v1/models/{owner}/{name}/predictions", self.create, methods=["POST"]),
            Route("/v1/deployments/{owner}/{name}/predictions", self.create, methods=["POST"]),
            Route("/v1/predictions/{id}", self.get, methods=["GET"]),
            Route("/v1/predictions/{id}/cancel", self.cancel, methods=["POST"]),
        ]

    async def create(self, request: Request) -> Response:
        """`POST /v1/predictions`, and of a model or a deployment."""
        gateway = self._gateway
        base, tenant = gateway.base(request), await gateway.tenant(request)
        prefer = request.headers.get("prefer", "")
        if any(each.strip().startswith("wait") and not PREFER.fullmatch(each.strip()) for each in prefer.split(",")):
            raise invalid([InvalidField("pattern", "Prefer", f"Does not match pattern '^{PREFER.pattern}$'")])
        served, is_new = await self._accepted(request, tenant, base)
        seconds = wait_seconds(prefer)
        if seconds:
            await until_over(gateway, served, seconds, request)
        if is_new and not seconds:
            row = view(served, Progress("publishing"), base, str)
        else:
            row = await gateway.row(served, base)
        if row["status"] in OPEN:
            row["status"] = "starting"  # clients take any other status in this reply for the end
        status = 202 if row["status"] in OPEN and (seconds or "respond-async" in prefer) else 201
        return _json(row, status, {"Preference-Applied": prefer.strip()} if seconds else {})

    async def _accepted(self, request: Request, tenant: Tenant, base: str) -> tuple[Served, bool]:
        name = "/".join(request.path_params.values())
        is_deployment = request.url.path.startswith("/v1/deployments/")
        key = request.headers.get("idempotency-key", "")
        if len(key) > LONGEST_KEY or not key.isprintable():
            raise bad_request(f"Idempotency-Key is not usable; expected: at most {LONGEST_KEY} printable characters")
        content = await bodies.read(request)
        gateway = self._gateway
        return await gateway.producer.in_thread(
            _accept, gateway, tenant, content, base,
            model="" if is_deployment else name, deployment=name if is_deployment else "", key=key,
        )  # fmt: skip

    async def get(self, request: Request) -> Response:
        """`GET /v1/predictions/{id}`."""
        gateway = self._gateway
        tenant = await gateway.tenant(request)
        served = await gateway.served(tenant, request.path_params["id"])
        return _json(await gateway.row(served, gateway.base(request)))

    async def cancel(self, request: Request) -> Response:
        """`POST /v1/predictions/{id}/cancel`; of one that is over it changes nothing."""
        gateway = self._gateway
        tenant = await gateway.tenant(request)
        served = await gateway.served(tenant, request.path_params["id"])
        producer = gateway.producer
        await producer.in_thread(lanes.cancel, producer, served.lane, served.id)
        return _json(await gateway.row(served, gateway.base(request)))

    async def list_all(self, request: Request) -> Response:
        """`GET /v1/predictions`: newest first, a page at a time."""
        gateway = self._gateway
        tenant, base = await gateway.tenant(request), gateway.base(request)
        query = request.query_params
        after, before = _moment(query.get("created_after")), _moment(query.get("created_before"))
        highest, skipped = _cursor(query.get("cursor"))
        if before is not None and (highest is None or before < highest):
            highest, skipped = before, ""
        ids = await self._page(tenant, highest, skipped, after)
        found, more = ids[:PAGE], len(ids) > PAGE
        reads = (gateway.ask(served_read(gateway.prefix, each)) for each, _ in found)
        kept = [
            served
            for (each, _), fields in zip(found, await asyncio.gather(*reads), strict=True)
            if (served := Served.parse(each, fields)) is not None
        ]
        rows = await asyncio.gather(*(gateway.row(served, base) for served in kept))
        following = None
        if more:
            names = {name: query[name] for name in ("created_after", "created_before") if name in query}
            last, at = found[-1]
            mark = base64.urlsafe_b64encode(f"{at!r} {last}".encode()).decode()
            following = f"{base}/v1/predictions?{urlencode({**names, 'cursor': mark})}"
        return _json({"previous": None, "next": following, "results": rows})

    async def _page(
        self, tenant: Tenant, highest: float | None, skipped: str, after: float | None
    ) -> list[tuple[str, float]]:
        """One more than a page of ids, newest first, each with the time it was created."""
        name = keys.SERVED_OF.at(self._gateway.prefix, tenant.id)
        upper = "+inf" if highest is None else repr(highest)
        lower = "-inf" if after is None else f"({after!r}"
        rows: Any = await self._gateway.ask(
            lambda redis: redis.zrevrangebyscore(name, upper, lower, start=0, num=PAGE + 50, withscores=True)
        )
        ids = [(each, float(at)) for each, at in rows]
        if skipped:  # of one moment, those up to the last one of the page before
            ids = [(each, at) for each, at in ids if at != highest or each < skipped]
        return ids[: PAGE + 1]


def _accept(
    gateway: Gateway, tenant: Tenant, content: bytes, base: str, *, model: str, deployment: str, key: str
) -> tuple[Served, bool]:
    create = parsed(gateway, content, base, model=model, deployment=deployment, idempotency_key=key)
    return accept(gateway, tenant, create)


def _cursor(text: str | None) -> tuple[float | None, str]:
    """Where a page begins.

    Raises:
        Refusal: 400.
    """
    if not text:
        return None, ""
    try:
        at, _, last = base64.urlsafe_b64decode(text.encode()).decode().partition(" ")
        if not math.isfinite(float(at)):
            raise ValueError(at)
        return float(at), last
    except (ValueError, binascii.Error):
        raise bad_request("The cursor is not one of this API's") from None


def _moment(text: str | None) -> float | None:
    """A time of a query, in Unix seconds.

    Raises:
        Refusal: 400.
    """
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise bad_request(f"{text[:40]!r} is no time; expected: ISO 8601") from None


def _json(body: Json, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body_of(body), status, headers, "application/json")
