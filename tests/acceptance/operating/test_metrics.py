"""What Prometheus is told, by Flower of the fleet and by a worker of itself; every name of it is documented."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

import replibatch
from replibatch import BatchRequest
from replibatch.sandbox import Sandbox
from tests.support.flower_server import FlowerServer
from tests.support.waiting import until

MODEL, STAND_IN = "qwen/qwen-image", "black-forest-labs/flux-dev"
DOCUMENT = Path(__file__).parents[3] / "docs" / "monitoring.md"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((f"replibatch_{name}", frozenset(labels.items())), 0.0)


def undocumented(samples: Samples) -> set[str]:
    """Names that the guide does not have; the parts of a histogram are documented as a whole."""
    ours = {name for name, _ in samples if name.startswith("replibatch_")}
    whole = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in ours}
    documented = set(re.findall(r"`(replibatch_\w+)(?:\{[\w,]+\})?`", DOCUMENT.read_text()))
    return whole - documented - {name.removesuffix("_total") for name in documented}


def test_the_figures_agree_with_the_books_and_outlive_the_worker(
    start_worker: Callable[..., subprocess.Popen[bytes]], sandbox: Sandbox, fleet: str, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    worker = start_worker("--concurrency", "4", "--metrics-port", str(port), REPLIBATCH_BUDGET_USD="50")
    requests = [BatchRequest(f"a harbour {number}", MODEL) for number in range(4)]
    requests += [BatchRequest(f"[[sensitive@{MODEL}]]", MODEL), BatchRequest("[[429:1]] a quay", MODEL)]
    batch = replibatch.enqueue_batch(requests)
    assert all(result.success for result in batch.results(60))

    own = parsed(httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text)
    assert value(own, "worker_generations_total", model=MODEL, outcome="succeeded") == 5
    assert value(own, "worker_generations_total", model=STAND_IN, outcome="succeeded") == 1
    assert value(own, "worker_attempts_total", model=MODEL, outcome="sensitive") == 1
    assert value(own, "worker_attempt_seconds_count", model=MODEL) == 5
    assert value(own, "worker_running") == 0

    server = FlowerServer(tmp_path, {})
    try:
        worker.kill()
        until(lambda: not server.figures()["workers"] or worker.poll() is not None, what="it is dead")
        told = parsed(server.client.get("/metrics").text)
    finally:
        server.close()
    assert value(told, "up") == 1
    assert value(told, "generations_total", model=MODEL, outcome="succeeded") == 5
    assert value(told, "fallbacks_total", model=MODEL, reason="sensitive") == 1
    assert value(told, "attempt_seconds_count", model=STAND_IN) == 1
    assert value(told, "attempt_seconds_bucket", model=MODEL, le="+Inf") == 5
    assert value(told, "creates_total") == len(sandbox.books.create_times) + 1  # and the one that was throttled
    assert value(told, "throttled_total") == 1
    assert value(told, "spent_usd_total") == value(told, "month_spent_usd") > 0
    assert abs(value(told, "spent_usd_total") - batch.progress().cost_usd) < 1e-9
    assert value(told, "in_flight") == 0 and value(told, "queued") == 0
    assert value(told, "waiting_seconds_total", cause="cooldown") > 0
    assert undocumented(told) == set() and undocumented(own) == set()
