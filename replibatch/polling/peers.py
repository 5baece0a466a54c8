"""The peers of a watcher: the watchers of the account's other processes. They share their polls."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from replibatch.replicate_api.predictions import Prediction


class Peers(Protocol):
    """A watcher's view of the others; `polling.shared_polls` implements it for the processes of a fleet."""

    @property
    def in_flight(self) -> int:
        """How many predictions all watchers together watch, as far as this process knows."""

    def may_poll(self, part: int) -> bool:
        """Whether no other process is about to read this part of the account's list."""

    def share(self, part: int, rows: Sequence[Prediction], began: float, own: Collection[str]) -> None:
        """Send the rows of a page to the others.

        Args:
            part: the part of the list, as given to `may_poll`.
            rows: the page.
            began: when the page was asked for, on the monotonic clock.
            own: the ids that this watcher watched; no other process waits for them.
        """


class NoPeers:
    """A watcher alone on its account."""

    in_flight = 0

    def may_poll(self, part: int) -> bool:  # noqa: ARG002  # no other process polls
        """Always."""
        return True

    def share(self, part: int, rows: Sequence[Prediction], began: float, own: Collection[str]) -> None:
        """Do nothing: there are no others."""
