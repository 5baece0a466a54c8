"""The answers of 400 and more, word for word as Replicate gives them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tornado.web import HTTPError

from replibatch.sandbox.answers import PROBLEM, Answer, answer, phrase
from replibatch.sandbox.throttles import FORMS


class Refusal(HTTPError):
    """A request refused.

    Args:
        status: the HTTP status.
        body: JSON, or text as it stands.
        headers: besides the usual.
        content_type: of the body.
    """

    def __init__(
        self,
        status: int,
        body: dict[str, Any] | str,
        headers: dict[str, str] | None = None,
        content_type: str = PROBLEM,
    ) -> None:
        super().__init__(status, reason=phrase(status))
        self.body = body
        self.headers = headers or {}
        self.content_type = content_type

    @classmethod
    def of(cls, answer: Answer) -> Refusal:
        """An answer that is not the API's own."""
        return cls(answer.status, answer.body, answer.headers, answer.content_type)


@dataclass(frozen=True)
class InvalidField:
    """One thing wrong with a request's JSON.

    Attributes:
        type: the rule it breaks (`required`, `enum`, `number_lte` …).
        field: where, as `input.aspect_ratio`; `(root)` for the whole.
        description: the mistake, in words.
    """

    type: str
    field: str
    description: str


def unauthenticated() -> Refusal:
    """401."""
    return _problem(401, "Unauthenticated", "You did not pass a valid authentication token")


def no_credit() -> Refusal:
    """402."""
    return _problem(
        402,
        "Insufficient credit",
        "You have insufficient credit to run this model. Go to https://replicate.com/account/billing#billing to "
        "purchase credit. Once you purchase credit, please wait a few minutes before trying again.",
    )


def not_found(detail: str = "The requested resource could not be found.") -> Refusal:
    """404."""
    return Refusal(404, {"detail": detail, "status": 404})


def too_large(max_bytes: int) -> Refusal:
    """413."""
    return _problem(413, "Content Too Large", f"Files must be less than {max_bytes // 1_000_000}MB in size")


def invalid(fields: Sequence[InvalidField]) -> Refusal:
    """422, with a line for each invalid field."""
    detail = "".join(f"- {field.field}: {field.description}\n" for field in fields)
    return _problem(422, "Input validation failed", detail, invalid_fields=[vars(field) for field in fields])


def conflict() -> Refusal:
    """409."""
    return _problem(409, "Conflict", "The prediction cannot be canceled in its current state")


def invalid_version() -> Refusal:
    """422, for a version that was never published."""
    return _problem(
        422,
        "Invalid version or not permitted",
        "The specified version does not exist (or perhaps you don't have permission to use it?)",
    )


def throttled(wait_seconds: float, style: str) -> Refusal:
    """429.

    Args:
        wait_seconds: until the request could be admitted; the reply rounds it up to whole seconds.
        style: the form of the wait in the reply, as `SandboxSettings.retry_after`.
    """
    seconds = max(1, math.ceil(wait_seconds))
    body: dict[str, Any] = {"detail": "Request was throttled.", "status": 429}
    headers = {}
    match style:
        case "header":
            headers["Retry-After"] = str(seconds)
        case "body":
            body["retry_after"] = seconds
        case "available":
            body["detail"] += f" Expected available in {seconds} second{'' if seconds == 1 else 's'}."
        case "resets":
            body["detail"] += f" Your rate limit resets in ~{seconds}s."
        case "minutes":
            body["detail"] += f" Your rate limit resets in ~{math.ceil(seconds / 60)}m."
    return Refusal(429, body, headers)


def throttled_as(form: str) -> Refusal:
    """429 in a form that was recorded, a key of `throttles.FORMS`."""
    body, headers = FORMS[form]()
    return Refusal(429, body, headers)


def broken(status: int) -> Refusal:
    """5xx: JSON from the service itself (500), for other statuses a page of HTML, as from a gateway."""
    if status == 500:
        return _problem(500, "Internal Server Error", "An internal error occurred")
    return Refusal.of(answer(status, "html"))


def _problem(status: int, title: str, detail: str, **more: Any) -> Refusal:
    return Refusal(status, {"title": title, "detail": detail, "status": status, **more})
