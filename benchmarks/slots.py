"""Are slots idle? Three workers, 20 slots, 300 predictions of 1 s ± 30 %: peak and busy share in the server's books.

Busy share: slot-seconds in use up to the last create, over limit times the span from the first create to the last.
"""

from __future__ import annotations

from benchmarks.fleet import Fleet
from replibatch import BatchRequest, enqueue_batch

WORKERS, LIMIT, PROMPTS = 3, 20, 300


def main() -> None:
    """Run it once and print a line."""
    with Fleet(
        workers=WORKERS,
        sandbox={"latency_seconds": 1.0, "jitter": 0.3},
        environment={"REPLICATE_GLOBAL_MAX_CONCURRENT": str(LIMIT)},
    ) as fleet:
        batch = enqueue_batch(BatchRequest(f"p{number}", "qwen/qwen-image") for number in range(PROMPTS))
        results = batch.results(timeout=120)
        books = fleet.books()
    created = books["create_times"]
    span = max(created) - min(created)
    busy = books["busy_slot_seconds"] / (LIMIT * span)
    good = sum(result.success for result in results)
    print(
        f"{good} results; peak {books['peak_in_flight']} of {LIMIT}; busy {busy:.3f}; span {span:.1f} s; "
        f"reads a prediction {sum(books['reads_by_kind'].values()) / PROMPTS:.2f}; 429s {books['throttled']}"
    )


if __name__ == "__main__":
    main()
