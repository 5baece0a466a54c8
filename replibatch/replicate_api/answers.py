"""What an answer to a request means. One table for creates, one for all other requests; the first fitting line holds.

An answer that is not in the API's own words, whatever its status, is an outage of the way there (`ApiUnreachable`):
it says nothing of the request. Beside each line stands the recorded answer it was made for (`tests/recorded`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

from replibatch.errors import (
    ApiUnreachable,
    AttemptFailure,
    InvalidInput,
    MaybeCreated,
    ModelMissing,
    NoCredit,
    NotThere,
    ReplibatchError,
    Throttled,
    TokenRefused,
)
from replibatch.replicate_api.body import parsed

SHOWN_CHARACTERS = 120  # of a page's title
MOST_CHARACTERS = 300  # of the API's words
ALWAYS_OWN = (400, 422, 429)  # with `detail` alone, too: "throttled", in older recordings without a status

# "available in 1 second", "resets in ~30s", "resets in ~2m", "resets in ~1h30m", "in 2 minutes and 5 seconds"
_WAIT_IN_WORDS = re.compile(
    r"(?:available|resets|again) in ~?\s*((?:\d+(?:\.\d+)?\s*[a-z]+[\s,]*(?:and\s+)?)+)", re.I
)
_PART_OF_WAIT = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|ms|m|s)", re.I)
_UNIT_SECONDS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.I | re.S)
_NO_VERSION = re.compile("invalid version", re.I)


@dataclass(frozen=True)
class Answer:
    """One answer, read to its end.

    Attributes:
        status: the HTTP status.
        headers: by lower-case name.
        content: the body, decompressed.
        url: what was asked for.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    url: str = ""

    @cached_property
    def error(self) -> dict[str, Any]:
        """The API's own form of an error; empty where the body is anything else, a gateway's JSON included."""
        try:
            body = parsed(self.content)
        except ValueError:
            return {}
        if not isinstance(body, dict) or not isinstance(body.get("detail"), str):
            return {}
        is_own = body.get("status") == self.status or isinstance(body.get("title"), str)
        return body if is_own or self.status in ALWAYS_OWN else {}

    @property
    def detail(self) -> str:
        """The API's words in one line; of anything else its status, type and title."""
        if self.error:
            return " ".join(str(self.error.get("detail") or self.error.get("title")).split())[:MOST_CHARACTERS]
        kind = self.headers.get("content-type", "").partition(";")[0] or "no type"
        return f"HTTP {self.status}, {kind}{_shown(self.content)}"


class Meaning(StrEnum):
    """What an answer comes to."""

    TOKEN_REFUSED = "token refused"  # noqa: S105
    NO_CREDIT = "no credit"
    MODEL_MISSING = "model missing"
    THROTTLED = "throttled"
    INVALID_INPUT = "invalid input"
    MAYBE_CREATED = "maybe created"
    NOT_THERE = "not there"
    REFUSED = "refused"
    OUT = "out"  # not the API's words; a create surely made nothing
    OUT_MAYBE = "out, maybe created"  # not the API's words; a create may have been passed on


class _Line(NamedTuple):
    """One line of a table: statuses, whether the body is the API's own form of an error, and the meaning."""

    statuses: range | frozenset[int]
    is_own: bool | None
    meaning: Meaning


def _only(*statuses: int) -> frozenset[int]:
    return frozenset(statuses)


_CREATES = (
    _Line(_only(401), True, Meaning.TOKEN_REFUSED),  # "token refused"
    _Line(_only(402), True, Meaning.NO_CREDIT),  # "no credit"
    _Line(_only(404), True, Meaning.MODEL_MISSING),  # "no such model"
    _Line(_only(429), True, Meaning.THROTTLED),  # "throttled (…)"
    _Line(_only(408, 425), True, Meaning.OUT),  # the server did not begin with it
    _Line(range(400, 500), True, Meaning.INVALID_INPUT),  # "input invalid", "body too large"
    _Line(range(500, 600), True, Meaning.MAYBE_CREATED),  # "an error of its own"
    _Line(range(300), None, Meaning.OUT_MAYBE),  # "a portal's page", "half an answer", "null", "nested 100,000 deep"
    _Line(range(300, 400), None, Meaning.OUT),  # "moved", "moved for now": never followed
    _Line(_only(407, 421, 429), False, Meaning.OUT),  # "a proxy wants a password", "the CDN's 1015": not passed on
    _Line(_only(521, 523, 525, 526, 530), False, Meaning.OUT),  # the CDN did not reach the API: "the CDN's 521" …
    # Any other page proves nothing, not even "the load balancer's 404" or "the CDN's block": some proxies pass a
    # request on, and put a page in the place of its answer.
    _Line(range(400, 600), False, Meaning.OUT_MAYBE),  # …, "a gateway's 404 in its own JSON", "a gateway's 502"
)
_READS = (
    _Line(_only(401), True, Meaning.TOKEN_REFUSED),  # "token refused"
    _Line(_only(402), True, Meaning.NO_CREDIT),
    _Line(_only(404, 405, 410), True, Meaning.NOT_THERE),  # "gone", "no list here", "no list by GET", "missing"
    _Line(_only(429), True, Meaning.THROTTLED),  # "throttled"
    _Line(_only(413, 422), True, Meaning.INVALID_INPUT),  # "too large"
    _Line(_only(408, 425), True, Meaning.OUT),
    _Line(range(400, 500), True, Meaning.REFUSED),  # "conflict"
    _Line(
        range(1000), None, Meaning.OUT
    ),  # every page, "an error of its own", "half an answer", "results are no list"
)


def of_create(answer: Answer, model: str = "") -> ReplibatchError:
    """The failure that an answer to a create is, where it is no prediction.

    Args:
        answer: the answer.
        model: as the create named it.
    """
    if answer.status == 422 and _NO_VERSION.search(str(answer.error.get("title", ""))):  # "version unknown"
        return ModelMissing.of(model, answer.detail)
    return _failure(_meaning(_CREATES, answer), answer, model)


def of_read(answer: Answer) -> ReplibatchError:
    """The failure that an answer to any other request is, where it is not what was asked for."""
    return _failure(_meaning(_READS, answer), answer)


def wait_asked_for(answer: Answer) -> float | None:
    """The seconds a 429 asks to wait: its header, its body, or its words; None where it names none."""
    header = answer.headers.get("retry-after")
    for candidate in (header, answer.error.get("retry_after")):
        try:
            seconds = float(candidate)  # type: ignore[arg-type]  # None and dates are what the except is for
        except (TypeError, ValueError):
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    try:  # by the server's own clock, where it shows its time
        now = parsedate_to_datetime(answer.headers.get("date") or formatdate(usegmt=True))
        return max(0.0, (parsedate_to_datetime(header or "") - now).total_seconds())
    except (TypeError, ValueError):
        return _wait_in_words(str(answer.error.get("detail", "")))


def _wait_in_words(words: str) -> float | None:
    found = _WAIT_IN_WORDS.search(words)
    if not found:
        return None
    seconds = sum(float(count) * _UNIT_SECONDS[unit.lower()] for count, unit in _PART_OF_WAIT.findall(found[1]))
    return seconds if math.isfinite(seconds) else None


def _meaning(table: tuple[_Line, ...], answer: Answer) -> Meaning:
    is_own = bool(answer.error)
    for line in table:
        if answer.status in line.statuses and line.is_own in (None, is_own):
            return line.meaning
    return Meaning.OUT_MAYBE if table is _CREATES else Meaning.OUT


def _failure(meaning: Meaning, answer: Answer, model: str = "") -> ReplibatchError:  # noqa: PLR0911  # a table
    words = answer.detail
    match meaning:
        case Meaning.TOKEN_REFUSED:
            return TokenRefused(
                f"Replicate does not accept the token ({words}); set REPLICATE_API_TOKEN to a valid one"
            )
        case Meaning.NO_CREDIT:
            return NoCredit(f"{words} Add credit to the account, then resume.")
        case Meaning.MODEL_MISSING:
            return ModelMissing.of(model, words)
        case Meaning.THROTTLED:
            return Throttled(words, wait_asked_for(answer))
        case Meaning.INVALID_INPUT:
            return InvalidInput(_with_fields(answer))
        case Meaning.MAYBE_CREATED:
            return MaybeCreated(f"HTTP {answer.status}: {words}")
        case Meaning.NOT_THERE:
            return NotThere(f"HTTP {answer.status}: {words}")
        case Meaning.REFUSED:
            return AttemptFailure(f"HTTP {answer.status}: {words}")
        case Meaning.OUT_MAYBE:
            cause = unreachable(answer)
            return MaybeCreated(str(cause), cause)
    return unreachable(answer)


def unreachable(answer: Answer) -> ApiUnreachable:
    """An answer that is not the API's own, with its cause."""
    retry_after = wait_asked_for(answer) if answer.status == 429 or "retry-after" in answer.headers else None
    if answer.error:
        return ApiUnreachable(f"Replicate has an error of its own (HTTP {answer.status}: {answer.detail})", "error")
    if 300 <= answer.status < 400:
        return _redirect(answer)
    if answer.status == 407:
        words = "the proxy asks for a user and a password (HTTP 407); give them in HTTPS_PROXY"
        return ApiUnreachable(words, "proxy")
    words = f"the answer is not Replicate's ({answer.detail}); a proxy, a portal or another server gave it"
    kind = "not_found" if answer.status == 404 else "page"
    return ApiUnreachable(words, kind, retry_after_seconds=retry_after)


def _redirect(answer: Answer) -> ApiUnreachable:
    location = answer.headers.get("location", "nowhere")[:SHOWN_CHARACTERS]
    if answer.url.startswith("http://") and location == "https://" + answer.url.removeprefix("http://"):
        words = "REPLICATE_BASE_URL is http://…, and the server answers at https:// alone; expected: https://…"
        return ApiUnreachable(words, "scheme", is_lasting=True)
    return ApiUnreachable(
        f"the answer is a redirect to {location} (HTTP {answer.status}), not Replicate's", "redirect"
    )


def _with_fields(answer: Answer) -> str:
    """Replicate's words, with the fields it names where the text leaves them out."""
    fields = answer.error.get("invalid_fields") or []
    fields = fields if isinstance(fields, list) else []
    named = [f"{field.get('field')}: {field.get('description')}" for field in fields if isinstance(field, dict)]
    missing = [text for text in named if text.split(": ", 1)[0].split(".")[-1] not in answer.detail]
    return "; ".join([answer.detail, *missing])


def _shown(content: bytes) -> str:
    """The title of a page, or the first words of a text; never its markup."""
    text = content[:20_000].decode(errors="replace")
    if title := _TITLE.search(text):
        text = title[1]
    elif text.lstrip()[:1] == "<":
        return ""
    words = "".join(each if each.isprintable() else " " for each in text[: 4 * SHOWN_CHARACTERS])
    words = " ".join(words.split())[:SHOWN_CHARACTERS]
    return f": {words!r}" if words else ""
