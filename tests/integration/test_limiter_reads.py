"""The window of reads: never more than its limit, and nobody without a read for long."""

from __future__ import annotations

import itertools
import json
import math
import threading
import time

from replibatch.redisdb.connection import connect
from replibatch.redisdb.scripts import Script

READ = Script("replibatch.limits", "read")
WINDOW_SECONDS, LIMIT, READERS = 1.0, 60, 4


def test_readers_at_the_limit_keep_it_and_none_is_left_without_for_long(redis_url: str) -> None:
    ends = time.monotonic() + 4 * WINDOW_SECONDS
    reads: list[tuple[float, float]] = []  # when each was asked for, and when it was granted at the latest

    def read_all_the_time() -> None:
        with connect(redis_url) as redis:
            while time.monotonic() < ends:
                began = time.monotonic()
                wait_ms = READ(redis, [""], [json.dumps({"window_ms": round(WINDOW_SECONDS * 1000), "limit": LIMIT})])
                if wait_ms:
                    time.sleep(wait_ms / 1000)
                else:
                    reads.append((began, time.monotonic()))

    readers = [threading.Thread(target=read_all_the_time) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    surely_together = (
        sum(first <= began and granted < first + WINDOW_SECONDS for began, granted in reads) for first, _ in reads
    )
    assert max(surely_together) <= LIMIT
    assert len(reads) >= 3 * LIMIT, "the limit is used"
    gaps = [later - earlier for earlier, later in itertools.pairwise(sorted(granted for _, granted in reads))]
    # Bursts would leave three gaps of nearly a window; a machine that is busy leaves one.
    assert sorted(gaps)[-3] < WINDOW_SECONDS / 4, "a burst does not leave the rest of the window empty"


def test_a_burst_takes_half_of_the_window_at_once(redis_url: str) -> None:
    with connect(redis_url) as redis:
        waits = [READ(redis, [""], [json.dumps({"window_ms": 60_000, "limit": LIMIT})]) for _ in range(LIMIT)]
    assert waits[: LIMIT // 2] == [0] * (LIMIT // 2)
    # The oldest reads leave one window after the end of their bucket, which is a sixtieth of the window (1 s).
    assert 0 < waits[-1] <= math.ceil(61_000 / (LIMIT / 2)), "the other half is spread over the rest of it"
