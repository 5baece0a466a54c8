"""What every answer of the API has in common: JSON, the token, the limits on reads, refusals in Replicate's words."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from tornado.httputil import format_timestamp
from tornado.web import RequestHandler

from replibatch.sandbox import replies
from replibatch.sandbox.accounts import Account
from replibatch.sandbox.clock import now
from replibatch.sandbox.faults import Phase
from replibatch.sandbox.service import Service

BROKEN_READ_STATUS = 503


class JSONHandler(RequestHandler):
    """Answers in JSON, refusals included.

    Args:
        service: what it speaks for.
    """

    def initialize(self, service: Service) -> None:
        self.service = service

    def set_default_headers(self) -> None:
        """Every answer tells the time by the stand-in's own clock."""
        self.set_header("Date", format_timestamp(now()))

    def data_received(self, chunk: bytes) -> None:
        """Bodies are read whole before a handler runs, except where one says otherwise."""
        raise NotImplementedError

    @property
    def base_url(self) -> str:
        """The server as this client reached it."""
        return f"{self.request.protocol}://{self.request.host}"

    def reply(self, body: Any, status: int = 200) -> None:
        """Answer, with something to be written as JSON."""
        self.reply_text(json.dumps(body, separators=(",", ":")), status)

    def reply_text(self, text: str, status: int = 200) -> None:
        """Answer, with JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(text)

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
        if isinstance(error.body, str):
            self.finish(error.body)
        else:
            self.set_header("Content-Type", "application/problem+json")
            self.finish(json.dumps(error.body))


class Unknown(JSONHandler):
    """404 for everything the API does not have."""

    def prepare(self) -> None:
        raise replies.not_found()


class APIHandler(JSONHandler):
    """A request with a token, counted as a read unless it says otherwise.

    Attributes:
        kind: its name in the books.
    """

    kind: ClassVar[str]
    account: Account

    def prepare(self) -> None:
        """Check the token, then count."""
        self.account = self.service.accounts.of(self.request.headers.get("Authorization", ""))
        self.count()

    def count(self) -> None:
        """Count it against the account's reads, and in the books."""
        at = now()
        try:
            self.account.admit_read(at)
        except replies.Refusal:
            self.service.books.read(at, self.kind, throttled=True)
            raise
        self.service.books.read(at, self.kind, throttled=False)
        if self.request.method == "GET" and self.service.faults.draw(Phase.READ):
            raise replies.broken(BROKEN_READ_STATUS)
