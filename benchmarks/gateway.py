"""What the gateway adds and what it takes: `python -m benchmarks.gateway`.

Latency: from a client's POST to the POST at the stand-in, through the gateway and by `enqueue`, one after the other
on an idle fleet of one worker. Throughput: creates that one gateway process accepts beside that worker, and the bare
stand-in, in one run; the clients and the stand-in share this process.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from replibatch import BatchRequest, Client
from replibatch.embedded.server import free_port
from replibatch.gateway.tenants import Tenants
from replibatch.sandbox import Sandbox, SandboxSettings
from tests.support.redis_server import RedisServer

MODEL = "qwen/qwen-image"
PATH = f"/v1/models/{MODEL}/predictions"
COUNT, CREATES, CONNECTIONS = 60, 2000, 32


def until(condition: Callable[[], object]) -> None:
    """Wait for it, closely."""
    while not condition():
        time.sleep(0.001)


def latencies_ms(sandbox: Sandbox, ask: Callable[[int], object]) -> list[float]:
    """From each call to the POST that it leads to."""
    found = []
    for number in range(COUNT):
        before, began = len(sandbox.books.post_times), time.time()
        ask(number)
        until(lambda before=before: len(sandbox.books.post_times) > before)
        found.append((sandbox.books.post_times[before] - began) * 1000)
        time.sleep(0.05)
    return found


async def creates_a_second(url: str, token: str) -> float:
    """How many creates a server accepts."""
    numbers = iter(range(CREATES))

    async def client() -> None:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60, verify=False) as http:
            for number in numbers:
                body = {"input": {"prompt": f"load {number}"}}
                answer = await http.post(PATH, json=body, headers={"Authorization": f"Bearer {token}"})
                assert answer.status_code == 201, answer.text

    began = time.monotonic()
    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
    return CREATES / (time.monotonic() - began)


def main() -> None:
    """Print the figures."""
    folder = Path(tempfile.mkdtemp())
    settings = SandboxSettings(
        latency_seconds=0.2, long_edge_pixels=64, creates_per_window=1_000_000, max_concurrent=100_000
    )
    server = RedisServer(folder)
    with Sandbox(settings) as sandbox:
        variables = {
            "REPLICATE_BASE_URL": sandbox.url,
            "REPLICATE_API_TOKEN": "r8_of_the_benchmark",
            "REPLIBATCH_REDIS_URL": server.url,
            "REPLIBATCH_STORAGE_URL": str(folder / "storage"),
        }
        os.environ.update(variables)
        port = free_port()
        command = [sys.executable, "-P", "-m", "replibatch"]
        worker = subprocess.Popen([*command, "worker", "--quiet"])
        gateway = subprocess.Popen([*command, "serve", "--port", str(port), "--quiet"])
        url = f"http://127.0.0.1:{port}"
        try:
            measure(sandbox, url)
        finally:
            for process in (gateway, worker):
                process.terminate()
                process.wait(60)
            server.stop()


def measure(sandbox: Sandbox, url: str) -> None:
    """Measure what runs."""
    with Client() as client, httpx.Client(base_url=url, trust_env=False, verify=False) as http:
        until(lambda: client._producer.limiter.status().workers)
        until(lambda: is_up(url))
        producer = client._producer
        key = Tenants(producer.redis, producer.settings.key_prefix, producer.limiter).add("load", max_waiting=100_000)

        def enqueue(number: int) -> None:
            client.enqueue(BatchRequest(f"enqueued {number}", MODEL))

        def post(number: int) -> None:
            body = {"input": {"prompt": f"posted {number}"}}
            http.post(PATH, json=body, headers={"Authorization": f"Bearer {key}"}).raise_for_status()

        for number in range(3):
            enqueue(-1 - number)
            post(-1 - number)
        time.sleep(2)
        direct, served = latencies_ms(sandbox, enqueue), latencies_ms(sandbox, post)
        added = statistics.median(served) - statistics.median(direct)
        print(f"from the call to the POST, p50: enqueue {statistics.median(direct):.1f} ms")
        print(f"through the gateway {statistics.median(served):.1f} ms: {added:.1f} ms more")
        bare = asyncio.run(creates_a_second(sandbox.url, "r8_of_the_benchmark"))
        through = asyncio.run(creates_a_second(url, key))
        print(f"creates a second: gateway {through:.0f}, bare stand-in {bare:.0f}, ratio {through / bare:.2f}")


def is_up(url: str) -> bool:
    """Whether it answers."""
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    main()
