"""What every answer of the API has in common: JSON, the token, the limits on reads, refusals in Replicate's words."""

from __future__ import annotations

import asyncio
import gzip
import json
import secrets
from typing import Any, ClassVar

from tornado.httputil import format_timestamp
from tornado.web import RequestHandler

from replibatch.sandbox import answers, replies
from replibatch.sandbox.accounts import Account
from replibatch.sandbox.clock import now
from replibatch.sandbox.faults import Phase
from replibatch.sandbox.service import Service

BROKEN_READ_STATUS = 503
COMPRESSED_FROM_BYTES = 500


class JSONHandler(RequestHandler):
    """Answers in JSON, refusals included.

    Args:
        service: what it speaks for.
    """

    def initialize(self, service: Service) -> None:
        self.service = service
        self.gone = asyncio.Event()  # set once the client has given up

    def set_default_headers(self) -> None:
        """Every answer tells the time by the stand-in's own clock, and who has passed it on."""
        self.set_header("Date", format_timestamp(now()))
        self.set_header("Server", "cloudflare")
        self.set_header("CF-Cache-Status", "DYNAMIC")
        self.set_header("CF-Ray", f"{secrets.token_hex(8)}-FRA")
        self.set_header("Via", "1.1 google")

    def data_received(self, chunk: bytes) -> None:
        """Bodies are read whole before a handler runs, except where one says otherwise."""
        raise NotImplementedError

    def on_connection_close(self) -> None:
        """The client has given up."""
        self.gone.set()

    @property
    def base_url(self) -> str:
        """The server as this client reached it."""
        return f"{self.request.protocol}://{self.request.host}{self.service.settings.path_prefix}"

    def reply(self, body: Any, status: int = 200) -> None:
        """Answer, with something to be written as JSON."""
        self.reply_text(json.dumps(body, separators=(",", ":")), status)

    def reply_text(self, text: str, status: int = 200) -> None:
        """Answer, with JSON: compressed and in chunks where it is long and the client takes that."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        content = text.encode()
        accepted = self.service.settings.gzip and "gzip" in self.request.headers.get("Accept-Encoding", "")
        if accepted and len(content) >= COMPRESSED_FROM_BYTES:
            self.set_header("Content-Encoding", "gzip")
            self.set_header("Vary", "Accept-Encoding")
            self.write(gzip.compress(content, 1))
            self.flush()  # without a Content-Length, then
            self.finish()
        else:
            self.finish(content)

    def compute_etag(self) -> None:
        """None: no client of the API asks for one, and hashing every answer is work."""

    def json_body(self) -> Any:
        """The request's body.

        Raises:
            Refusal: 400 where it is not JSON.
        """
        try:
            return json.loads(self.request.body)
        except ValueError:
            raise replies.Refusal(
                400, {"title": "Invalid JSON", "detail": "The request's body is not valid JSON", "status": 400}
            ) from None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """A refusal's own words; tornado's for the rest, as JSON."""
        error = (kwargs.get("exc_info") or (None, None))[1]
        if not isinstance(error, replies.Refusal):
            error = replies.Refusal(status_code, {"detail": self._reason, "status": status_code})
        for name, value in error.headers.items():
            self.set_header(name, value)
        self.set_header("Content-Type", error.content_type)
        self.finish(error.body if isinstance(error.body, str) else json.dumps(error.body))

    async def behave(self, order: answers.Order) -> bool:
        """Do what a fault orders instead of an answer, or before it.

        Returns:
            Whether the request is to be answered after all.

        Raises:
            Refusal: the answer it orders.
        """
        if order.answer:
            raise replies.Refusal.of(order.answer)
        if order.behaviour == "slow":
            await asyncio.sleep(self.service.settings.slow_answer_seconds)
            return True
        if order.behaviour == "hang":
            await self.gone.wait()
        self.detach().close()
        return False


class Unknown(JSONHandler):
    """404 for everything the API does not have."""

    def prepare(self) -> None:
        raise replies.not_found()


class Elsewhere(JSONHandler):
    """404 of a balancer, for everything beside the path prefix."""

    def prepare(self) -> None:
        raise replies.Refusal.of(answers.answer(404, "balancer"))


class Portal(JSONHandler):
    """The page that redirects lead to."""

    def get(self) -> None:
        raise replies.Refusal.of(answers.answer(200, "portal"))

    post = get


class APIHandler(JSONHandler):
    """A request with a token, counted as a read unless it says otherwise.

    Attributes:
        kind: its name in the books.
        place: where faults strike it; None where they strike otherwise.
    """

    kind: ClassVar[str]
    place: ClassVar[Phase | None] = None
    account: Account

    async def prepare(self) -> None:
        """Check the token, count, and do what a fault orders."""
        self.account = self.service.accounts.of(self.request.headers.get("Authorization", ""))
        self.count()
        if self.place is not None:
            await self.strike(self.place)

    async def strike(self, place: Phase) -> bool:
        """Do what a fault orders at that place; whether the request is to be answered after all."""
        fault = self.service.faults.draw(place, *self.subject())
        order = answers.order(fault.kind) if fault else None
        return order is None or await self.behave(order)

    def subject(self) -> tuple[str, str]:
        """The model and the prompt that the request is about, as far as it is about one."""
        return "", ""

    def count(self) -> None:
        """Count it against the account's reads, and in the books."""
        at = now()
        try:
            self.account.admit_read(at)
        except replies.Refusal:
            self.service.books.read(at, self.kind, throttled=True)
            raise
        self.service.books.read(at, self.kind, throttled=False)
        self.tell_limit(self.account.reads_left())
        if self.request.method == "GET" and self.service.faults.draw(Phase.READ):
            raise replies.broken(BROKEN_READ_STATUS)

    def tell_limit(self, left: int) -> None:
        """How many more such requests the account may make, as the API tells it."""
        self.set_header("ratelimit-remaining", str(left))
        self.set_header("ratelimit-reset", "1")
