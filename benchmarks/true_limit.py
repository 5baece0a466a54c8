"""The server's true limit is a third of the configured one: how many creates does it refuse once that is known?

60 creates in 10 s are configured, the server admits 20; and once more as an account with little credit has it, spaced
with no burst at all.
"""

from __future__ import annotations

from typing import Any

from benchmarks.fleet import Fleet
from benchmarks.report import Table, publish
from replibatch import BatchRequest, enqueue_batch

WORKERS, CONFIGURED, WINDOW_SECONDS = 3, 60, 10.0
SERVERS: dict[str, tuple[dict[str, Any], int]] = {
    "a third": ({"creates_per_window": CONFIGURED // 3}, 240),
    "little credit": ({"low_credit": True}, 60),
}


def run(name: str) -> list[str]:
    """One server; its row of figures."""
    sandbox, prompts = SERVERS[name]
    with Fleet(
        workers=WORKERS,
        sandbox={"latency_seconds": 0.3, "window_seconds": WINDOW_SECONDS, **sandbox},
        environment={
            "REPLICATE_GLOBAL_MAX_CONCURRENT": str(CONFIGURED),
            "REPLICATE_REQUESTS_PER_MINUTE": str(CONFIGURED),
            "REPLIBATCH_RATE_WINDOW_SECONDS": str(WINDOW_SECONDS),
        },
    ) as fleet:
        batch = enqueue_batch(BatchRequest(f"p{number}", "qwen/qwen-image") for number in range(prompts))
        results = []
        throttled_at_first = creates_at_first = None
        for result in batch:
            results.append(result)
            books = fleet.books(WINDOW_SECONDS)
            created = books["create_times"]
            if throttled_at_first is None and max(created) - min(created) > WINDOW_SECONDS:
                throttled_at_first, creates_at_first = books["throttled"], len(created)
        books = fleet.books(WINDOW_SECONDS)
    created = books["create_times"]
    later = len(created) - (creates_at_first or 0)
    refused = books["throttled"] - (throttled_at_first or 0)
    good = sum(result.success for result in results)
    return [
        name,
        f"{good} of {prompts}",
        str(creates_at_first),
        str(throttled_at_first),
        str(later),
        f"{refused} ({refused / later:.2%})",
        f"{max(created) - min(created):.0f}",
    ]


def main() -> None:
    """Both servers."""
    columns = ["server", "files", "creates in the first window", "429s in it", "creates after it", "429s after it"]
    publish("true_limit", __doc__, Table([*columns, "first create to last, s"], [run(name) for name in SERVERS]))


if __name__ == "__main__":
    main()
