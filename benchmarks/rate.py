"""Is the rate kept, and used? Three workers, 60 creates in any 10 s, enforced by the server, 240 prompts.

The ideal is 30 s from the first create to the last: 60 at once, and again every 10 s.
"""

from __future__ import annotations

from benchmarks.fleet import Fleet
from benchmarks.report import Table, publish
from replibatch import BatchRequest, enqueue_batch

WORKERS, LIMIT, WINDOW_SECONDS, PROMPTS = 3, 60, 10.0, 240


def main() -> None:
    """Run it once."""
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
    span = max(created) - min(created)
    ideal_seconds = WINDOW_SECONDS * ((PROMPTS - 1) // LIMIT)
    rows = [
        ["ideal", str(PROMPTS), f"{ideal_seconds:.1f}", str(LIMIT), "0"],
        ["replibatch", str(good), f"{span:.1f}", str(books["most_posts_in_window"]), str(books["throttled"])],
    ]
    columns = ["", "files", "first create to last, s", f"most POSTs in any {WINDOW_SECONDS:g} s", "429s"]
    publish("rate", __doc__, Table(columns, rows))


if __name__ == "__main__":
    main()
