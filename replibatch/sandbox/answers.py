"""Answers that are not the API's own: pages of proxies, of the CDN and of portals, and whatever else arrives.

A kind of fault reads `<place>-<status>-<body>`, as `list-403-html` or `create-404-balancer`: at that place, with that
HTTP status, with that body. `<place>-hang`, `<place>-drop` and `<place>-slow` answer never, not at all, and late.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

PLACES = ("create", "created", "get", "list", "cancel", "file", "model", "account", "download")
BEHAVIOURS = ("hang", "drop", "slow")
JSON, PROBLEM, HTML, TEXT = "application/json", "application/problem+json", "text/html", "text/plain; charset=utf-8"
REDIRECTS = (301, 302, 303, 307, 308)
PORTAL_PATH = "/portal"
PORTAL = (
    "<!DOCTYPE html><html><head><title>Guest Wi-Fi</title></head><body><form action=/login>"
    "<p>Please accept the terms of use to go on.</p><button>Accept</button></form></body></html>\n"
)
_KIND = re.compile(rf"({'|'.join(PLACES)})-(?:(\d{{3}})-([a-z]+)|({'|'.join(BEHAVIOURS)}))")
_CDN_TITLES = {
    403: "Attention Required! | Cloudflare",
    429: "Error 1015: You are being rate limited",
    520: "520: Web server is returning an unknown error",
    521: "521: Web server is down",
    522: "522: Connection timed out",
    523: "523: Origin is unreachable",
    524: "524: A timeout occurred",
    525: "525: SSL handshake failed",
    526: "526: Invalid SSL certificate",
    530: "530: Error 1016: Origin DNS error",
}


@dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes:
        status: the HTTP status.
        content_type: of the body.
        body: text.
        headers: besides the usual.
    """

    status: int
    content_type: str
    body: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Order:
    """What a kind of fault asks for, at one place: an answer, or a behaviour."""

    place: str
    answer: Answer | None
    behaviour: str = ""


def order(kind: str) -> Order | None:
    """What that kind of fault asks for; None where it is no such kind."""
    match = _KIND.fullmatch(kind)
    if match is None:
        return None
    place, status, body, behaviour = match.groups()
    if behaviour:
        return Order(place, None, behaviour)
    if body not in BODIES or not 200 <= int(status) <= 599:
        return None
    return Order(place, answer(int(status), body))


def answer(status: int, body: str) -> Answer:
    """An answer of that status with a body of that kind, a key of `BODIES`."""
    made = BODIES[body](status)
    if status in REDIRECTS:
        made.headers["Location"] = PORTAL_PATH
    if status == 407:
        made.headers["Proxy-Authenticate"] = 'Basic realm="proxy"'
    return made


def phrase(status: int) -> str:
    """The words for a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _api(status: int) -> Answer:
    """As the API itself words it."""
    detail = {
        401: "You did not pass a valid authentication token",
        404: "The requested resource could not be found.",
        405: 'Method "GET" not allowed.',
        429: "Request was throttled. Expected available in 1 second.",
        500: "An internal error occurred",
    }.get(status, phrase(status))
    title = "Unauthenticated" if status == 401 else phrase(status)
    return Answer(status, PROBLEM, f'{{"title":"{title}","detail":{_quoted(detail)},"status":{status}}}')


def _html(status: int) -> Answer:
    words = f"{status} {phrase(status)}"
    page = f"<html>\r\n<head><title>{words}</title></head>\r\n<body>\r\n<center><h1>{words}</h1></center>\r\n"
    return Answer(status, HTML, page + "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n")


def _cdn(status: int) -> Answer:
    title = _CDN_TITLES.get(status, f"{status}: {phrase(status)}")
    page = f"<!DOCTYPE html>\n<html lang=en-US>\n<head><title>{title}</title></head>\n<body>"
    page += f"<h1>{title}</h1><p>Ray ID: <strong>82cac197efaec53d</strong></p></body>\n</html>\n"
    return Answer(status, "text/html; charset=UTF-8", page, {"Cache-Control": "private, no-store"})


def _balancer(status: int) -> Answer:
    """As the load balancer in front of the API words it."""
    service = "service rules for the path non-existent"
    return Answer(status, TEXT, f"response {status} (backend {phrase(status).replace(' ', '')}), {service} \n")


BODIES: dict[str, Callable[[int], Answer]] = {
    "api": _api,
    "html": _html,
    "cdn": _cdn,
    "balancer": _balancer,
    "portal": lambda status: Answer(status, HTML, PORTAL),
    "text": lambda status: Answer(status, TEXT, "upstream connect error or disconnect/reset before headers\n"),
    "code": lambda status: Answer(status, TEXT, "error code: 1015"),
    "xml": lambda status: Answer(
        status, "application/xml", '<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>'
    ),
    "json": lambda status: Answer(status, JSON, '{"message":"no Route matched with those values"}'),
    "object": lambda status: Answer(status, JSON, "{}"),
    "array": lambda status: Answer(status, JSON, "[]"),
    "null": lambda status: Answer(status, JSON, "null"),
    "number": lambda status: Answer(status, JSON, "9" * 5000),
    "deep": lambda status: Answer(status, JSON, "[" * 100_000),
    "half": lambda status: Answer(status, JSON, '{"id":"7vr9my1z3nrj40cjb2vv9pshw0","model":"bla'),
    "mislabelled": lambda status: Answer(status, JSON, PORTAL),
    "empty": lambda status: Answer(status, JSON, ""),
}


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'
