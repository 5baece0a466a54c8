"""What every route of the gateway needs: the way to the queue, who asks, and the gateway's own address."""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from dataclasses import replace
from functools import cached_property
from typing import Any

from starlette.requests import Request

from replibatch.gateway.line import Line
from replibatch.gateway.refusals import bad_request, forbidden
from replibatch.gateway.tenants import LOCAL, Tenant, digest
from replibatch.jobs.packing import read_attempts, read_result
from replibatch.jobs.record import is_id
from replibatch.producer.producer import Producer
from replibatch.redisdb import keys
from replibatch.requests import OutputFile, State
from replibatch.sandbox import hosting
from replibatch.sandbox.replies import not_found, unauthenticated
from replibatch.served import Progress, Served, view
from replibatch.served.record import served_read
from replibatch.served.view import FIELDS, Json

HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?")
LOOPBACK = re.compile(r"(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d{1,5})?", re.IGNORECASE)
LONGEST_TEXT_BYTES = 1_000_000  # of a text output, in an answer
TEXTS_KEPT = 200


class Gateway:
    """One gateway process.

    Args:
        producer: its way to the queue.
        public_url: what its addresses begin with; empty for as each client reaches it.
        keyless: whether it is on loopback alone, where no key is asked for while there is none.
    """

    def __init__(self, producer: Producer, *, public_url: str = "", keyless: bool = False) -> None:
        self.producer = producer
        self.prefix = producer.settings.key_prefix
        self.public_url = public_url.rstrip("/")
        self.keyless = keyless
        self.stopping = asyncio.Event()
        self._texts: OrderedDict[str, str] = OrderedDict()

    @cached_property
    def hosted(self) -> dict[str, hosting.Hosted]:
        """The catalogue's models as the API shows them, by their names in the catalogue."""
        return {name: hosting.of_catalog(model) for name, model in self.producer.catalog.models.items()}

    def base(self, request: Request) -> str:
        """The gateway as this client reaches it.

        Raises:
            Refusal: 400, for a `Host` that is none.
        """
        host = request.headers.get("host", "")
        if not HOST.fullmatch(host):
            raise bad_request("The Host header is not usable")
        return self.public_url or f"{request.url.scheme}://{host}"

    async def tenant(self, request: Request) -> Tenant:
        """Who asks.

        Raises:
            Refusal: 401 for a key that is none; 403 for a page in a browser, where no key is asked for.
        """
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        name, hashed = keys.GATEWAY_KEYS.at(self.prefix), digest(key.strip())
        if scheme.lower() not in ("bearer", "token"):
            hashed = "-"
        text = await self.ask(lambda redis: redis.hget(name, hashed))
        if text:
            tenant = Tenant.parse(text)
        elif not self.keyless or await self.ask(lambda redis: redis.hlen(name)):
            raise unauthenticated()
        else:
            if "origin" in request.headers or not LOOPBACK.fullmatch(request.headers.get("host", "")):
                raise forbidden("Without keys this gateway answers programs of this machine alone")
            tenant = LOCAL
        request.state.tenant = tenant.name
        return tenant

    async def ask(self, read: Any) -> Any:
        """The answer of Redis to one command."""
        return await self.producer.hub.ask(read)

    async def served(self, tenant: Tenant, prediction_id: str) -> Served:
        """The tenant's own prediction of that id.

        Raises:
            Refusal: 404, for an id of another's too.
        """
        served = await self.any_served(prediction_id)
        if served is None or served.owner != tenant.id:
            raise not_found()
        return served

    async def any_served(self, prediction_id: str) -> Served | None:
        """The prediction of that id, whoever asked for it."""
        if not is_id(prediction_id):
            return None
        return Served.parse(prediction_id, await self.ask(served_read(self.prefix, prediction_id)))

    async def progress(self, served: Served) -> Progress:
        """Where it is now."""
        name = keys.GENERATION.at(self.prefix, served.id)
        values, left_ms = await asyncio.gather(
            self.ask(lambda redis: redis.hmget(name, FIELDS)), self.ask(lambda redis: redis.pttl(name))
        )
        progress = Progress.parse(values, read_result, read_attempts)
        if not progress.state and served.lane and not served.ended:
            return await self._in_lane(served, progress)
        if progress.result is None:
            return progress
        progress = replace(progress, result=self.producer.files.in_storage(progress.result))
        if not served.completed:
            progress = replace(progress, completed=self._completed(left_ms))
            await self._note_end(served, progress)
        return progress

    async def _in_lane(self, served: Served, progress: Progress) -> Progress:
        """One without a record: it waits, as long as its lane is there."""
        lane = keys.BATCH.at(self.prefix, served.lane)
        names = ("total", "held", "canceled_at")
        total, held, canceled_ms = await self.ask(lambda redis: redis.hmget(lane, names))
        if canceled_ms and served.created * 1000 < int(canceled_ms):  # by the account's owner, the whole lane
            progress = replace(progress, state=State.CANCELED, completed=int(canceled_ms) / 1000)
            await self._note_end(served, progress)
        elif total is not None:
            words = f"its key is held ({held})" if held else "its key's slots are in use"
            progress = replace(progress, state=State.PENDING, ahead=words)
        return progress

    def _completed(self, left_ms: int) -> float:
        """When it ended: what is left of its result's life tells, as long as workers keep it for as long."""
        now, keep_seconds = time.time(), self.producer.settings.keep_seconds
        since = keep_seconds - left_ms / 1000 if left_ms >= 0 else 0.0
        return round(now - since if since >= 0 else now, 3)

    async def _note_end(self, served: Served, progress: Progress) -> None:
        """Keep when and how it ended: its result is over one day."""
        name = keys.SERVED.at(self.prefix, served.id)
        status = progress.status(served)
        await asyncio.gather(
            self.ask(lambda redis: redis.hsetnx(name, "completed", str(progress.completed))),
            self.ask(lambda redis: redis.hset(name, "ended", f'"{status}"')),
            self.ask(lambda redis: redis.zrem(keys.SERVED_OPEN.at(self.prefix, served.owner), served.id)),
        )

    async def row(self, served: Served, base: str, line: Line | None = None) -> Json:
        """The prediction as the API tells it; with `line`, its place there is told in the logs while it waits."""
        progress = await self.progress(served)
        if line and progress.is_waiting and not progress.ahead:
            progress = replace(progress, ahead=await line.words(served.id, progress))
        if progress.is_gone(served) and served.input:
            await self.ask(lambda redis: redis.hdel(keys.SERVED.at(self.prefix, served.id), "input"))
        result = progress.result
        is_text = served.shape in ("text", "array<text>")
        texts = {file.path: await self._text(served, file) for file in result.files} if is_text and result else {}
        return view(served, progress, base, lambda file: texts[file.path])

    async def _text(self, served: Served, file: OutputFile) -> str:
        known = f"{served.id}/{file.path}"
        if known not in self._texts:
            self._texts[known] = await self.producer.in_thread(_read_text, file)
            if len(self._texts) > TEXTS_KEPT:
                self._texts.popitem(last=False)
        return self._texts[known]


def _read_text(file: OutputFile) -> str:
    content = b""
    for chunk in file:
        content += chunk
        if len(content) > LONGEST_TEXT_BYTES:
            break
    return content[:LONGEST_TEXT_BYTES].decode(errors="replace")
