"""Prometheus metrics of this gateway process, on a port of its own."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

PARTS = ("predictions", "files", "models", "deployments", "account", "webhooks", "outputs", "stream")
REQUESTS = Counter(
    "replibatch_gateway_requests",
    "Requests answered, by part of the API, method and status.",
    ["part", "method", "status"],
)
SECONDS = Histogram(
    "replibatch_gateway_request_seconds",
    "How long answers took, those held by `Prefer: wait` included.",
    ["part"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)


def count(method: str, path: str, status: int, seconds: float) -> None:
    """Count one request; a status of 0 is one whose client has gone."""
    words = path.split("/")
    part = words[2] if len(words) > 2 and words[1] == "v1" else words[1] if len(words) > 1 else ""
    if part in ("models", "deployments") and words[-1] == "predictions":
        part = "predictions"
    part = part if part in PARTS else "other"
    known = method if method in ("GET", "POST", "DELETE", "HEAD") else "other"
    REQUESTS.labels(part, known, str(status)).inc()
    SECONDS.labels(part).observe(seconds)
