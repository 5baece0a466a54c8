"""Is the rate kept, and used? Three workers, 60 creates in any 10 s, enforced by the server, 240 prompts.

The ideal is 30 s from the first create to the last: 60 at once, and again every 10 s.
"""

from __future__ import annotations

from benchmarks.fleet import Fleet
from replibatch import BatchRequest, enqueue_batch

WORKERS, LIMIT, WINDOW_SECONDS, PROMPTS = 3, 60, 10.0, 240


def main() -> None:
    """Run it once and print a line."""
    with Fleet(
        workers=WORKERS,
        sandbox={"latency_seconds": 0.5, "creates_per_window": LIMIT, "window_seconds": WINDOW_SECONDS},
        environment={
            "REPLICATE_GLOBAL_MAX_CONCURRENT": str(PROMPTS),
            "REPLICATE_REQUESTS_PER_MINUTE": str(LIMIT),
            "REPLIBATCH_RATE_WINDOW_SECONDS": str(WINDOW_SECONDS),
        },
    ) as fleet:
        batch = enqueue_batch(BatchRequest(f"p{number}", "qwen/qwen-image") for number in range(PROMPTS))
        results = batch.results(timeout=180)
        books = fleet.books(WINDOW_SECONDS)
    created = books["create_times"]
    good = sum(result.success for result in results)
    print(
        f"{good} results; {len(created)} creates within {max(created) - min(created):.1f} s; most POSTs in any "
        f"{WINDOW_SECONDS:g} s {books['most_posts_in_window']} of {LIMIT}; 429s {books['throttled']}"
    )


if __name__ == "__main__":
    main()
