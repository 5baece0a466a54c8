"""A client that speaks to one stand-in for Replicate over HTTP, for tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Self

import httpx

from replibatch.sandbox import Sandbox
from tests.support.catalogue import FLUX

TOKEN = "r8_NobodyMayEverSeeThis"


class Caller:
    """Speaks to one stand-in: as the holder of a token (`http`), and as anybody (`anybody`).

    No certificate store is loaded, which would take longer than most tests.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        headers = {"Authorization": f"Bearer {TOKEN}"}
        self.http = httpx.Client(base_url=sandbox.url, headers=headers, verify=False, trust_env=False, timeout=10)
        self.anybody = httpx.Client(base_url=sandbox.url, verify=False, trust_env=False, timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        self.anybody.close()

    def post(
        self, prompt: str, model: str = FLUX, headers: dict[str, str] | None = None, **inputs: Any
    ) -> httpx.Response:
        body = {"input": {"prompt": prompt, **inputs}}
        return self.http.post(f"/v1/models/{model}/predictions", json=body, headers=headers)

    def create(self, prompt: str, model: str = FLUX, **inputs: Any) -> dict[str, Any]:
        response = self.post(prompt, model, **inputs)
        assert response.status_code == 201, response.text
        return response.json()

    def get(self, prediction: dict[str, Any]) -> dict[str, Any]:
        return self.http.get(f"/v1/predictions/{prediction['id']}").raise_for_status().json()

    def until(self, prediction: dict[str, Any], *statuses: str) -> dict[str, Any]:
        seen = {}

        def reached() -> bool:
            seen.update(self.get(prediction))
            return seen["status"] in statuses

        wait_for(reached)
        return seen

    def ended(self, prompt: str, model: str = FLUX, **inputs: Any) -> dict[str, Any]:
        return self.until(self.create(prompt, model, **inputs), "succeeded", "failed", "canceled", "aborted")

    def listed(self, **arguments: str) -> dict[str, Any]:
        return self.http.get("/v1/predictions", params=arguments).raise_for_status().json()


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)
