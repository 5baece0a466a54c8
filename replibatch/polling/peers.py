"""The other watchers of the account: what one process has read, all of them hear of."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from replibatch.replicate_api.predictions import Prediction


class Peers(Protocol):
    """What a watcher knows of the others; `replibatch.shared_looks` is how processes of a fleet have it."""

    @property
    def in_flight(self) -> int:
        """How many predictions all of them watch, as far as is known."""

    def may_look(self, part: int) -> bool:
        """Whether nobody else is about to read this part of the account's list."""

    def share(self, part: int, rows: Sequence[Prediction], began: float, own: Collection[str]) -> None:
        """Tell the others what a page has shown.

        Args:
            part: of the list, as asked for with `may_look`.
            rows: the page.
            began: when it was asked for, on the monotonic clock.
            own: the ids of those that this watcher watched: nobody else waits for them.
        """


class NoPeers:
    """A watcher alone on its account."""

    in_flight = 0

    def may_look(self, part: int) -> bool:  # noqa: ARG002  # nobody else looks
        """Always."""
        return True

    def share(self, part: int, rows: Sequence[Prediction], began: float, own: Collection[str]) -> None:
        """There is nobody to tell."""
