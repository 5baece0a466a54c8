"""The predictions a process watches, and which page of the account's list is most worth a read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from replibatch.polling.durations import CERTAIN_SECONDS, Durations
from replibatch.replicate_api.predictions import Prediction

PAGE_ROWS = 100
NEARLY = 0.97


@dataclass(eq=False)
class Watched:
    """One prediction that is watched.

    Attributes:
        id: Replicate's.
        on_end: called with it once it is over.
        durations: its model's.
        since: when it came here, on the monotonic clock, as are `began` and `not_before`.
        began: when it was created; None until that is known.
        created_at: the same on Replicate's clock, seconds since the epoch; None until that is known.
        seen_seconds: its age when it was last seen running.
        not_before: no poll before then.
        listed: False once the list has failed to show it: it is asked for singly.
    """

    id: str
    on_end: Callable[[Prediction], None]
    durations: Durations
    since: float
    began: float | None = None
    created_at: float | None = None
    seen_seconds: float = 0.0
    not_before: float = 0.0
    listed: bool = True

    def unseen_seconds(self, now: float) -> float:
        """How long it has been over unseen by then, by expectation; very long where its age is unknown."""
        if now < self.not_before:
            return 0.0
        if self.began is None:
            return CERTAIN_SECONDS
        return self.durations.unseen_seconds(self.seen_seconds, now - self.began)


class Poll(NamedTuple):
    """A read that could be made.

    Attributes:
        unseen_seconds: the sum, as expected, of the times since the ends that it would show.
        items: the predictions it is made for, newest first.
    """

    unseen_seconds: float
    items: list[Watched]


def best_page(items: Iterable[Watched], now: float, page_seconds: float) -> Poll:
    """The page of the list that is most worth reading.

    Args:
        items: the watched predictions; those of unknown age, or that the list does not show, are left out.
        now: on the monotonic clock.
        page_seconds: how much time lies between the creation of the first and of the last row of a page.
    """
    listed = sorted(
        (
            (item.created_at, unseen, item)
            for item in items
            if item.listed and item.created_at is not None and (unseen := item.unseen_seconds(now)) > 0
        ),
        key=lambda row: row[0],
        reverse=True,
    )
    pages: list[tuple[float, int, int]] = []
    unseen_seconds, last = 0.0, 0
    for first, (created_at, unseen, _) in enumerate(listed):
        while last < min(len(listed), first + PAGE_ROWS) and created_at - listed[last][0] <= page_seconds:
            unseen_seconds += listed[last][1]
            last += 1
        pages.append((unseen_seconds, first, last))
        unseen_seconds -= unseen
    most = max((page[0] for page in pages), default=0.0)
    # The last of the good ones: what a page is read for is then near its top, however far down it reaches.
    _, first, last = next((page for page in reversed(pages) if page[0] >= NEARLY * most), (0.0, 0, 0))
    return Poll(most, [row[2] for row in listed[first:last]])


def best_single(items: Iterable[Watched], now: float) -> Poll:
    """The one prediction that is most worth asking for."""
    most, item = max(((item.unseen_seconds(now), item) for item in items), key=lambda row: row[0])
    return Poll(most, [item])
