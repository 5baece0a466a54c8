"""The stand-in can give every answer that was recorded and is not the ordinary one."""

from __future__ import annotations

import json

import httpx
import pytest

from replibatch.sandbox import Sandbox, SandboxSettings
from tests.recorded import ENDPOINTS, Case, cases
from tests.support.catalogue import FLUX
from tests.support.sandbox_caller import Caller


def ask(call: Caller, endpoint: str, prediction_id: str) -> httpx.Response:
    one = f"/v1/predictions/{prediction_id}"
    requests = {
        "creates": ("POST", f"/v1/models/{FLUX}/predictions", {"json": {"input": {"prompt": "x"}}}),
        "gets": ("GET", one, {}),
        "cancels": ("POST", f"{one}/cancel", {}),
        "lists": ("GET", "/v1/predictions", {}),
        "files": ("POST", "/v1/files", {"files": {"content": b"png"}}),
        "models": ("GET", f"/v1/models/{FLUX}", {}),
        "account": ("GET", "/v1/account", {}),
    }
    method, path, options = requests[endpoint]
    return call.http.request(method, path, **options)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_recorded_answer_can_be_ordered(endpoint: str) -> None:
    with Sandbox(SandboxSettings(latency_seconds=30)) as sandbox, Caller(sandbox) as call:
        prediction_id = call.create("x")["id"]
        ordered = [case for case in cases(endpoint) if case.stand_in]
        assert len(ordered) > 20
        for case in ordered:
            sandbox.settings.fault_rates = {case.stand_in: 1.0}
            assert is_same(case, ask(call, endpoint, prediction_id)), case
        assert len(sandbox.books.create_times) == 1


def is_same(case: Case, answer: httpx.Response) -> bool:
    if (answer.status_code, answer.headers["content-type"]) != (case.status, case.headers["content-type"]):
        return False
    if case.headers["content-type"] != "application/problem+json":
        return answer.content == case.content
    return answer.json() == json.loads(case.content)


def test_every_case_says_what_it_means() -> None:
    for endpoint in ENDPOINTS:
        found = cases(endpoint)
        assert len({case.name for case in found}) == len(found)
        assert all(case.means and (endpoint != "creates" or case.expected["created"]) for case in found)
