"""When a poll is worth a read: when predictions that have ended unseen have lost enough seconds."""

from __future__ import annotations

import math
from collections.abc import Collection

from replibatch.polling.watched import Watched, best_page, best_single

# A poll is worth a read when this share of all the time that is watched is lost: every √(2 · 0.0003) = 2.4 % of a
# model's usual time. A larger share where fewer or more are in flight than these; and in any case when one prediction
# has lost so much of its usual time.
LOST_SHARE = 0.0003
FEW = 8
MANY = 60
SPARING = 1.25  # the exponent: twice as many in flight, 2^1.25 times the share
LOST_ALONE = 0.25
SHORTEST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 30.0


def seconds_until_worth_a_poll(items: Collection[Watched], now: float, page_seconds: float, in_flight: int) -> float:
    """Found by searching ahead in strides that double, then between the last two.

    Args:
        items: what this process watches.
        now: on the monotonic clock.
        page_seconds: how much time lies between the creation of the first and of the last row of a page.
        in_flight: how many predictions all processes watch together: they share their polls.
    """
    if not items:
        return float("inf")
    usual = sum(item.durations.usual_seconds for item in items)
    count = max(len(items), in_flight)
    worth = LOST_SHARE * usual * max(1.0, FEW / count, math.pow(count / MANY, SPARING))
    worth_alone = min(worth, LOST_ALONE * usual / len(items))
    before, part_before, ahead = 0.0, 0.0, 0.0
    while ahead < LONGEST_PAUSE_SECONDS:
        page, single = best_page(items, now + ahead, page_seconds), best_single(items, now + ahead)
        part = max(page.unseen_seconds / worth, single.unseen_seconds / worth_alone)
        if part >= 1:
            return before + (ahead - before) * (1 - part_before) / (part - part_before)
        before, part_before = ahead, part
        ahead = 2 * ahead or SHORTEST_PAUSE_SECONDS / 4
    return LONGEST_PAUSE_SECONDS
