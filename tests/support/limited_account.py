"""What the tests of the limiter under faults share: an account with few slots, and a look at who has them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from redis import Redis

from replibatch.sandbox import Sandbox
from replibatch.sandbox.books import most_in_window
from replibatch.settings import load
from tests.histories.state import State

Worker = subprocess.Popen[bytes]
Start = Callable[..., Worker]
LIMIT = 6


@dataclass
class Account:
    """The account as the limiter has it.

    Attributes:
        redis_url: of the fleet.
        sandbox: Replicate.
    """

    redis_url: str
    sandbox: Sandbox

    def state(self) -> State:
        with Redis.from_url(self.redis_url, decode_responses=True) as redis:
            return State.read(redis, load().key_prefix)

    def of(self, worker: Worker, place: str) -> list[str]:
        """The attempts a worker process has in `slots`, `granted` or `waiters`."""
        state = self.state()
        attempts = getattr(state, place)
        return [attempt for attempt in attempts if f"/{worker.pid}/" in state.ticket_of(attempt)[1]]

    def check_limits(self, *, per_window: int | None = None, window_seconds: float = 0.0) -> None:
        """As Replicate counts."""
        assert self.sandbox.books.peak_in_flight <= LIMIT
        if per_window:
            assert most_in_window(self.sandbox.books.post_times, window_seconds) <= per_window
