"""Ten thousand odd answers at every endpoint: no traceback, no verdict on an item by a page, no answer that hangs."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from replibatch.errors import (
    AccountStopped,
    ApiUnreachable,
    AttemptFailure,
    InvalidInput,
    MaybeCreated,
    ModelMissing,
    ReplibatchError,
    Throttled,
)
from replibatch.replicate_api import Prediction, ReplicateAPI, client
from replibatch.sandbox.odd_rows import ODD_ROWS
from tests.recorded import ENDPOINTS, cases
from tests.support.catalogue import FLUX

ROUNDS = 10_000
ID = "7vr9my1z3nrj40cjb2vv9pshw0"
STATUSES = (200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, *range(400, 432), 451, 499, *range(500, 531))
TYPES = ("application/json", "application/problem+json", "text/html", "text/plain", "", "image/png", "a;b;c\x7f")


class Fuzz(httpx.BaseTransport):
    """Answers with the next of the odd answers."""

    def __init__(self, answers: Iterator[httpx.Response]) -> None:
        self._answers = answers

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.last = next(self._answers)
        return self.last

    def close(self) -> None:
        """Nothing is open."""


def odd_answers(rng: random.Random) -> Iterator[httpx.Response]:
    recorded = [case.content for endpoint in ENDPOINTS for case in cases(endpoint)]
    row = {"id": ID, "status": "processing", "created_at": "2026-11-20T12:00:00Z", "input": {"prompt": "p"}}
    while True:
        content = rng.choice(recorded) if rng.random() < 0.6 else rng.choice(list(ODD_ROWS.values()))(row).encode()
        for _ in range(rng.randrange(4)):
            content = mutated(content, rng)
        headers = {"content-type": rng.choice(TYPES), "retry-after": rng.choice(("", "5", "-1", "x", "1e400", "nan"))}
        headers["date"] = rng.choice(("", "soon", "Fri, 20 Nov 2026 12:00:00 GMT", "Fri, 99 Nov 9999 99:99:99 GMT"))
        headers["location"] = rng.choice(("", "/x", "https://[::1", "/x y"))
        yield httpx.Response(rng.choice(STATUSES), headers=headers, content=content)


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Half of it, a piece doubled, bytes changed, or wrapped."""
    at, to = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    match rng.randrange(6):
        case 0:
            return content[:at]
        case 1:
            return content[:at] + content[at:to] * 2 + content[to:]
        case 2:
            return content[:at] + rng.randbytes(3) + content[to:]
        case 3:
            return b'{"results": [' + content + b"], " + b'"next": ' + rng.choice((b"null", b"7", b'"/v1/x"')) + b"}"
        case 4:
            return content.replace(b'"status"', rng.choice((b'"Status"', b'"id"', b'"detail"')), 1)
    return content.replace(b"null", rng.choice((b"[]", b"{}", b"0", b"NaN")), 1)


@pytest.mark.parametrize("rounds", [500, pytest.param(ROUNDS, marks=pytest.mark.chaos)])
@pytest.mark.parametrize("endpoint", ["create", "get", "list", "cancel", "upload", "published", "account"])
def test_every_answer_means_something(endpoint: str, rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fuzz = Fuzz(odd_answers(random.Random(endpoint)))
    monkeypatch.setattr(client, "Connections", lambda **_: fuzz)
    monkeypatch.setattr("replibatch.replicate_api.calls.log", None if endpoint != "list" else _Silent())
    api = ReplicateAPI("https://api.replicate.com", SecretStr("r8_x"), await_read=lambda: None, settle_seconds=30)
    calls: dict[str, Callable[[], Any]] = {
        "create": lambda: api.create(FLUX, {}, 60, may_send=lambda: True),
        "get": lambda: api.get(ID),
        "list": lambda: next(api.newest(), []),
        "cancel": lambda: api.cancel(ID),
        "upload": lambda: api._read("/v1/files", lambda made: str(made["urls"]["get"]), method="POST"),
        "published": lambda: api.published(FLUX),
        "account": api.account,
    }
    for _ in range(rounds):
        try:
            found = calls[endpoint]()
        except ReplibatchError as error:
            check(error, fuzz.last)
            assert "\n" not in str(error) and len(str(error)) < 500
        else:
            assert fuzz.last.status_code < 300 or (endpoint == "cancel" and found is None), fuzz.last
            if endpoint in ("create", "get") or (endpoint == "cancel" and found):
                assert isinstance(found, Prediction) and found.id and found.status


class _Silent:
    def warning(self, *_: object, **__: object) -> None:
        """Rows are left out."""


def check(error: ReplibatchError, answer: httpx.Response) -> None:
    """A verdict is given by the API's own words alone."""
    if isinstance(error, AccountStopped | InvalidInput | ModelMissing | Throttled):
        body = json.loads(answer.content)
        assert isinstance(body["detail"], str), "the API's own form of an error"
        assert body.get("status") == answer.status_code or "title" in body or answer.status_code in (400, 422, 429)
    else:
        assert isinstance(error, AttemptFailure)
        if isinstance(error, ApiUnreachable) and answer.status_code < 300:
            assert not error.is_lasting
        if isinstance(error, MaybeCreated):
            assert answer.status_code >= 400 or answer.status_code < 300
