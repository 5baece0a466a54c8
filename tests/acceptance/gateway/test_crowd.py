"""300 clients at once, half Python, half JavaScript, on two gateways and three workers; one of each is killed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError

from replibatch.embedded.server import free_port
from replibatch.gateway.tenants import Tenants
from replibatch.producer import open_producer
from replibatch.sandbox import Sandbox
from tests.acceptance.gateway.test_commands import is_ready
from tests.support import PROJECT
from tests.support.catalogue import QWEN
from tests.support.commands import Start, quick_models, start
from tests.support.waiting import until

__all__ = ["quick_models", "start"]
pytestmark = pytest.mark.chaos

EACH, LIMIT, SLOTS, ROOM = 150, 60, 25, 120
OVER = "over its budget"
NODE = shutil.which("node")
CLIENT = PROJECT / "node_modules" / "replicate" / "package.json"


def one(number: int, key: str, gateways: list[str]) -> str | None:
    """The output that one Python client gets, or `OVER`; on another error it asks the next gateway again."""
    prompt = f"py {number}"
    for tried in range(100):
        url = gateways[(number + tried) % len(gateways)]
        client = Client(api_token=key, base_url=url, headers={"Idempotency-Key": prompt}, timeout=httpx.Timeout(90))
        try:
            output = client.run(QWEN, input={"prompt": prompt})
            return str(output[0] if isinstance(output, list) else output)
        except ModelError as error:  # accepted, and no room was left at the grant
            assert "budget" in str(error), error
            return OVER
        except ReplicateError as error:
            if error.status == 402:
                return OVER
            assert error.status is None or error.status >= 500, error
        except httpx.TransportError:
            pass
        finally:
            client._client.close()
        time.sleep(0.3)  # as a client does before it asks again
    return None


@pytest.mark.skipif(NODE is None or not CLIENT.is_file(), reason="no node here, or no replicate in node_modules")
@pytest.mark.usefixtures("quick_models")
def test_a_crowd(
    fleet: str,
    sandbox: Sandbox,
    start: Start,
    start_worker: Callable[..., subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", str(LIMIT))
    monkeypatch.setenv("REPLIBATCH_LEASE_SECONDS", "5")
    monkeypatch.setenv("REPLIBATCH_SETTLE_SECONDS", "5")
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "files"))
    sandbox.settings.latency_seconds = 1.0
    workers = [start_worker("--concurrency", "60") for _ in range(3)]
    producer = open_producer()
    tenants = Tenants(producer.redis, producer.settings.key_prefix, producer.limiter)
    price = producer.catalog.get(QWEN).cost_usd({})
    assert price
    free = tenants.add("python", budget_usd=(ROOM + 0.5) * price)
    narrow = tenants.add("javascript", max_concurrent=SLOTS)
    ports = [free_port() for _ in range(2)]
    gateways = [start("serve", "--port", str(port), "--quiet") for port in ports]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    until(lambda: all(map(is_ready, urls)), what="the gateways are ready")

    crowd = subprocess.Popen(
        [str(NODE), str(PROJECT / "tests/acceptance/gateway/crowd.mjs"), narrow, QWEN, str(EACH), *urls],
        env={**os.environ, "REPLICATE_CLIENT": str(CLIENT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with ThreadPoolExecutor(EACH) as pool:
        asked = [pool.submit(one, number, free, urls) for number in range(EACH)]
        until(lambda: sandbox.books.in_flight > LIMIT // 3, seconds=120, what="it is under way")
        workers[0].kill()
        gateways[0].kill()
        outputs = [each.result(400) for each in asked]
    said, complaints = crowd.communicate(timeout=400)
    assert crowd.returncode == 0, complaints
    assert outputs.count(OVER) == EACH - ROOM, "the budget is used to its end, and not passed"
    outputs += list(json.loads(said).values())

    assert len(outputs) == 2 * EACH and all(outputs), "each got its output, or a plain error"
    books = sandbox.books
    assert books.peak_in_flight <= LIMIT
    assert not books.paid_twice()
    succeeded = {each.prompt for each in sandbox._service.predictions.values() if each.status == "succeeded"}
    assert len(succeeded) == EACH + ROOM
    spans = [
        (each.created_at, each.completed_at or time.time())
        for each in sandbox._service.predictions.values()
        if each.prompt.startswith("js")
    ]
    most = max(sum(begin <= at < end for begin, end in spans) for at, _ in spans)
    assert most <= SLOTS
    gateways[0].communicate()
    gateways[1].terminate()
    gateways[1].communicate(timeout=30)
