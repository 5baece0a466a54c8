"""What a failed request to the API means: the HTTP answer, or its absence, as one of our errors."""

from __future__ import annotations

import json
import math
import re
from email.utils import formatdate, parsedate_to_datetime
from typing import Any

import httpx

from replibatch.errors import (
    AttemptFailure,
    InvalidInput,
    MaybeCreated,
    ModelMissing,
    NoCredit,
    NotCreated,
    ReplibatchError,
    Throttled,
    TokenRefused,
)

# "Request was throttled. Expected available in 1 second.", "Your rate limit resets in ~30s."
_WAIT_IN_WORDS = re.compile(r"(?:available|resets) in ~?(\d+(?:\.\d+)?)\s*s", re.IGNORECASE)
_NO_VERSION = re.compile(
    "invalid version", re.IGNORECASE
)  # "Invalid version or not permitted": a 422, yet no input's fault
_TOO_LATE = (408, 425)  # the server gave up on the request, or did not begin
# The request never left: no connection was made, or none was free.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class Refusal(Exception):
    """An answer of 400 or more, whole; raised below the client, whose own error loses the headers.

    Args:
        response: read to its end.
    """

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers = response.headers
        try:
            body = json.loads(response.content)
        except ValueError:
            body = None
        self.body: dict[str, Any] = body if isinstance(body, dict) else {}
        detail = self.body.get("detail") or self.body.get("title") or response.text[:200] or response.reason_phrase
        self.detail = " ".join(str(detail).split())
        super().__init__(f"HTTP {self.status}: {self.detail}")


class Malformed(Exception):
    """An answer below 400 that is none of the API's: from something on the way, most likely."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"HTTP {response.status_code}")


def wait_asked_for(refusal: Refusal) -> float | None:
    """The seconds a 429 asks to wait: its header, its body, or its words; None where it names none."""
    header = refusal.headers.get("retry-after")
    for candidate in (header, refusal.body.get("retry_after")):
        try:
            seconds = float(candidate)  # type: ignore[arg-type]  # None and dates are what the except is for
        except (TypeError, ValueError):
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        # By the server's own clock, where it tells its time.
        now = parsedate_to_datetime(refusal.headers.get("date") or formatdate(usegmt=True))
        return max(0.0, (parsedate_to_datetime(header or "") - now).total_seconds())
    except (TypeError, ValueError):
        words = _WAIT_IN_WORDS.search(refusal.detail)
        return float(words.group(1)) if words else None


def of_create(error: Refusal | Malformed | httpx.HTTPError, model: str = "") -> ReplibatchError:
    """What a failed create means. Everything that does not surely say "not created" is `MaybeCreated`.

    Args:
        error: what the client raised.
        model: as the create named it.
    """
    if isinstance(error, Refusal):
        if error.status == 404 or (error.status == 422 and _NO_VERSION.search(str(error.body.get("title", "")))):
            return ModelMissing.of(model, error.detail)
        return NotCreated(str(error)) if error.status in _TOO_LATE else _of_refusal(error)
    if isinstance(error, _NEVER_SENT):
        return NotCreated(f"no connection to Replicate ({_name(error)})")
    return MaybeCreated(_without_answer(error))


def _of_refusal(refusal: Refusal) -> ReplibatchError:
    match refusal.status:
        case 401:
            return TokenRefused(
                f"Replicate does not accept the token ({refusal.detail}); set REPLICATE_API_TOKEN to a valid one"
            )
        case 402:
            return NoCredit(f"{refusal.detail} Add credit to the account, then resume.")
        case 404:
            return ModelMissing(f"Replicate has no such model: {refusal.detail}")
        case 429:
            return Throttled(refusal.detail, wait_asked_for(refusal))
        case status if status < 500:
            return InvalidInput(_field_words(refusal))
    return MaybeCreated(str(refusal))


def _field_words(refusal: Refusal) -> str:
    """Replicate's words, with the fields it names where the text leaves them out."""
    fields = refusal.body.get("invalid_fields") or []
    named = [f"{field.get('field')}: {field.get('description')}" for field in fields if isinstance(field, dict)]
    missing = [text for text in named if text.split(": ", 1)[0].split(".")[-1] not in refusal.detail]
    return "; ".join([refusal.detail, *missing])


def of_read(error: Refusal | Malformed | httpx.HTTPError) -> ReplibatchError:
    """What a failed read means: `TokenRefused`, `NoCredit`, `Throttled`, or an `AttemptFailure` to try again.

    Args:
        error: what the client raised.
    """
    if isinstance(error, Refusal):
        if error.status in (401, 402, 429):
            return _of_refusal(error)
        return AttemptFailure(str(error))
    return NotCreated(_without_answer(error))


def _without_answer(error: Malformed | httpx.HTTPError) -> str:
    if isinstance(error, Malformed):
        return f"an answer that is not one of Replicate's API ({error})"
    return f"no answer from Replicate ({_name(error)})"


def _name(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
