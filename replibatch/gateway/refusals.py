"""Refusals in Replicate's form: those of its own API, and those that only a queue in front of it has."""

from __future__ import annotations

import json
import re

from starlette.requests import Request
from starlette.responses import Response

from replibatch.errors import (
    IdempotencyConflict,
    NoSuchWork,
    QueueUnavailable,
    ReplibatchError,
    RequestError,
    UnsupportedModel,
)
from replibatch.sandbox.answers import PROBLEM
from replibatch.sandbox.replies import InvalidField, Refusal, invalid, not_found

RETRY_SECONDS = 5
FIRST_WORD = re.compile(r"'?([\w.-]{1,100})'? (?:is|has|holds|names)\b")


def problem(status: int, title: str, detail: str, headers: dict[str, str] | None = None) -> Refusal:
    """A refusal in the API's form."""
    return Refusal(status, {"title": title, "detail": detail, "status": status}, headers)


def bad_request(detail: str) -> Refusal:
    """400."""
    return problem(400, "Bad Request", detail)


def over_budget(detail: str) -> Refusal:
    """402: the key's own budget."""
    return problem(402, "Insufficient credit", detail)


def forbidden(detail: str) -> Refusal:
    """403."""
    return problem(403, "Forbidden", detail)


def too_slow() -> Refusal:
    """408."""
    return problem(408, "Request Timeout", "The request's body did not arrive in time", {"Connection": "close"})


def body_too_large(most_bytes: int) -> Refusal:
    """413, for a body of JSON."""
    detail = f"The request's body is larger than {most_bytes:,} bytes; upload files to /v1/files instead"
    return problem(413, "Content Too Large", detail, {"Connection": "close"})


def too_many(detail: str) -> Refusal:
    """429: the key's own bound."""
    headers = {"Retry-After": str(RETRY_SECONDS)}
    body = {"detail": detail, "status": 429, "retry_after": RETRY_SECONDS}
    return Refusal(429, body, headers)


def of_error(error: ReplibatchError, names: tuple[str, ...] = ()) -> Refusal:
    """What an error of the queue is to a client of the API.

    Args:
        error: the error.
        names: the inputs that were sent; a message about one names its field.
    """
    words = str(error)
    match error:
        case IdempotencyConflict():
            refusal = problem(409, "Conflict", words)
        case UnsupportedModel() | NoSuchWork():
            refusal = not_found(words)
        case RequestError():
            found = FIRST_WORD.match(words)
            field = f"input.{found[1]}" if found and found[1] in names else "input"
            refusal = invalid([InvalidField("invalid", field, words)])
        case QueueUnavailable():
            accepted = {True: "it was accepted", False: "nothing was accepted", None: "it may have been accepted"}
            detail = f"The queue cannot be reached; {accepted[error.accepted]}"
            refusal = problem(503, "Service Unavailable", detail, {"Retry-After": str(RETRY_SECONDS)})
        case _:
            refusal = problem(500, "Internal Server Error", "An internal error occurred")
    return refusal


async def answer(_: Request, error: Exception) -> Response:
    """The response to a refusal, or to any other error."""
    if isinstance(error, ReplibatchError):
        error = of_error(error)
    if not isinstance(error, Refusal):
        error = problem(500, "Internal Server Error", "An internal error occurred")
    body = error.body if isinstance(error.body, str) else json.dumps(error.body)
    return Response(body, error.status_code, error.headers, error.content_type or PROBLEM)
