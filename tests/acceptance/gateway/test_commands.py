"""`replibatch serve` and `replibatch keys` as processes."""

from __future__ import annotations

import json
import signal

import httpx
import pytest

from replibatch.embedded.server import free_port
from tests.support.commands import Start, replibatch, start
from tests.support.waiting import until

__all__ = ["start"]


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def test_keys_and_a_gateway_for_them(redis_url: str, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", redis_url)
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_of_the_account")
    port = str(free_port())
    refused = replibatch("serve", "--host", "0.0.0.0", "--port", port)
    assert refused.returncode == 2 and "there is no key" in refused.stderr and "Traceback" not in refused.stderr
    made = replibatch("keys", "add", "shop", "--budget", "20", "--max-concurrent", "10", "--tag", "web")
    key = made.stdout.strip()
    assert key.startswith("rbk_") and "shown once" in made.stderr
    listed = replibatch("keys", "list", "--json").stdout
    (row,) = json.loads(listed)
    assert (row["name"], row["budget_usd"], row["max_concurrent"], row["tags"]) == ("shop", 20.0, 10, ["web"])
    assert key not in listed

    gateway = start("serve", "--host", "0.0.0.0", "--port", port, "--public-url", "https://gateway.example")
    url = f"http://127.0.0.1:{port}"
    until(lambda: gateway.poll() is not None or is_ready(url), what="it is ready")
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, trust_env=False) as client:
        body = {"input": {"prompt": "a fox that waits"}}
        created = client.post("/v1/models/qwen/qwen-image/predictions", json=body)
        assert created.status_code == 201 and created.json()["status"] == "starting"
        assert created.json()["urls"]["get"].startswith("https://gateway.example/v1/predictions/")
        busy = replibatch("serve", "--port", port)
        assert busy.returncode == 2 and "expected: a free port" in busy.stderr
        assert replibatch("keys", "remove", "shop").returncode == 0
        assert client.get("/v1/account").status_code == 401
    gateway.send_signal(signal.SIGTERM)
    said, complaints = gateway.communicate(timeout=30)
    assert gateway.returncode == 0, complaints
    assert key not in said + complaints and "r8_of_the_account" not in said + complaints


def test_a_held_request_ends_with_the_gateway(redis_url: str, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", redis_url)
    port = free_port()
    gateway = start("serve", "--port", str(port), "--quiet")
    url = f"http://127.0.0.1:{port}"
    until(lambda: gateway.poll() is not None or is_ready(url), what="it is ready")
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        body = {"input": {"prompt": "a fox that waits"}}
        with client.stream(
            "GET", client.post("/v1/models/qwen/qwen-image/predictions", json=body).json()["urls"]["stream"]
        ) as stream:
            lines = stream.iter_lines()
            assert next(lines) == "event: logs"
            gateway.send_signal(signal.SIGTERM)
            assert "done" not in "".join(lines)
    gateway.communicate(timeout=30)
    assert gateway.returncode == 0
