"""Every recorded answer means what its line in `tests/recorded` says, read by the client that workers have."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from replibatch.errors import (
    ApiUnreachable,
    AttemptFailure,
    InvalidInput,
    MaybeCreated,
    ModelMissing,
    NoCredit,
    NoList,
    NotThere,
    ReplibatchError,
    Throttled,
    TokenRefused,
)
from replibatch.replicate_api import Prediction, ReplicateAPI, client
from tests.recorded import ENDPOINTS, Case, cases
from tests.support.catalogue import FLUX

ID = "7vr9my1z3nrj40cjb2vv9pshw0"
KINDS: dict[str, type[ReplibatchError]] = {
    "token_refused": TokenRefused,
    "no_credit": NoCredit,
    "model_missing": ModelMissing,
    "invalid_input": InvalidInput,
    "throttled": Throttled,
    "gone": NotThere,
    "no_list": NoList,
    "maybe_created": MaybeCreated,
    "outage": ApiUnreachable,
}


class Replay(httpx.BaseTransport):
    """Answers every request with one recorded answer."""

    def __init__(self, case: Case) -> None:
        self._case = case

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(self._case.status, headers=self._case.headers, content=self._case.content)

    def close(self) -> None:
        """Nothing is open."""


def answered(case: Case, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the client makes of it: the value it returns, or the error it raises."""
    monkeypatch.setattr(client, "Connections", lambda **_: Replay(case))
    api = ReplicateAPI(
        "https://api.replicate.com",
        SecretStr("r8_x"),
        await_read=lambda: None,
        settle_seconds=30,
        longest_pause_seconds=1e9,
    )
    calls = {
        "creates": lambda: api.create(FLUX, {}, 60, may_send=lambda: True),
        "gets": lambda: api.get(ID),
        "lists": lambda: next(api.newest(created_after=datetime(2020, 1, 1, tzinfo=UTC))),
        "cancels": lambda: api.cancel(ID),
        "files": lambda: api._read("/v1/files", lambda made: str(made["urls"]["get"]), method="POST"),
        "models": lambda: api.published(FLUX),
        "account": api.account,
    }
    try:
        return calls[case.endpoint]()
    except ReplibatchError as error:
        return error


@pytest.mark.parametrize("case", [case for endpoint in ENDPOINTS for case in cases(endpoint)], ids=str)
def test_it_means_what_was_recorded(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    found, expected = answered(case, monkeypatch), case.expected
    match case.means:
        case "created" | "row":
            assert isinstance(found, Prediction)
            assert (found.id, found.status) == (expected["prediction"]["id"], expected["prediction"]["status"])
            failure = found.failure()
            assert (failure.reason if failure else None) == expected["prediction"].get(
                "reason", failure.reason if failure else None
            )
        case "rows":
            assert len(found) == expected["readable"]
        case "says_nothing":
            assert found is None
        case "account":
            assert found == expected["username"]
        case "uploaded":
            assert found == expected["address"]
        case "model":
            assert found.is_official == expected["official"] and found.version == expected["version"]
        case "outage" if case.endpoint == "creates":
            assert isinstance(
                found, MaybeCreated if expected["created"] == "unknown" else (ApiUnreachable, MaybeCreated)
            )
            assert isinstance(found, ApiUnreachable) or found.unreachable, "it says nothing of the item"
            assert "<" not in str(found), "no markup"
        case means:
            assert type(found) is KINDS[means], found
            if means == "throttled":
                assert found.retry_after_seconds == expected["wait_seconds"]
    if isinstance(found, AttemptFailure):
        assert len(str(found)) < 400 and "\n" not in str(found)
