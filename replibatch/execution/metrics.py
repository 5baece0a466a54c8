"""Prometheus metrics of this worker process, on a port of its own; Flower has those of the fleet."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from replibatch.execution.context import WorkerContext
from replibatch.jobs.counts import LATENCY_SECONDS
from replibatch.requests import BatchResult

GENERATIONS = Counter(
    "replibatch_worker_generations",
    "Generations this process settled, by the last model tried and how they ended.",
    ["model", "outcome"],
)
ATTEMPTS = Counter(
    "replibatch_worker_attempts", "Attempts of those generations, by how they ended.", ["model", "outcome"]
)
ATTEMPT_SECONDS = Histogram(
    "replibatch_worker_attempt_seconds",
    "From the grant of a successful attempt to its saved file.",
    ["model"],
    buckets=LATENCY_SECONDS,
)
COST = Counter("replibatch_worker_cost_usd", "Cost of those generations.", ["model"])
TAKEN_OVER = Counter("replibatch_worker_recoveries", "Generations taken over from processes that died or left.")
RUNNING = Gauge("replibatch_worker_running", "Generations that its threads work on, including those that wait.")
WAITING = Gauge("replibatch_worker_waiting", "Attempts of this process that wait at the limiter.")


def watch(context: WorkerContext) -> None:
    """Read the gauges from this context from now on."""
    RUNNING.set_function(lambda: len(context.running))
    WAITING.set_function(lambda: context.waiting_room.waiting)


def count(result: BatchResult) -> None:
    """Count a generation that this process settled."""
    last = result.attempts[-1].model if result.attempts else result.model_name
    GENERATIONS.labels(result.model_used or last, result.state.value).inc()
    for attempt in result.attempts:
        ATTEMPTS.labels(attempt.model, attempt.reason or attempt.outcome).inc()
        COST.labels(attempt.model).inc(attempt.cost_usd or 0.0)
        if not attempt.reason:
            ATTEMPT_SECONDS.labels(attempt.model).observe(attempt.seconds)
