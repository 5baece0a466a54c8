"""The limiter's keys as they are in Redis at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from redis import Redis

from replibatch.limits.tickets import Ticket
from replibatch.money import to_micro, to_usd

SHARED = "shared"
Scores = dict[str, float]


@dataclass(frozen=True)
class State:
    """What the scripts have written, for comparison: with the books, and with itself after a repeated call."""

    slots: Scores
    granted: Scores
    creating: Scores
    waiters: Scores
    window: list[str]
    tickets: dict[str, str]
    limits: dict[str, str]
    spend: dict[str, str]
    shared: dict[str, str]
    outages: dict[str, str]

    @classmethod
    def read(cls, redis: Redis, prefix: str) -> State:
        with redis.pipeline() as pipeline:
            for name in ("slots", "granted", "creating", "waiters"):
                pipeline.zrange(prefix + name, 0, -1, withscores=True)
            pipeline.lrange(prefix + "window", 0, -1)
            for name in ("tickets", "limits", "spend", f"budget:{SHARED}", "outages"):
                pipeline.hgetall(prefix + name)
            slots, granted, creating, waiters, *others = pipeline.execute()
        return cls(dict(slots), dict(granted), dict(creating), dict(waiters), *others)

    def where(self, attempt: str) -> str:
        """The attempt's standing; empty for one that neither waits nor holds."""
        if attempt in self.creating:
            return "claimed"
        if attempt in self.granted:
            return "granted"
        if attempt in self.slots:
            return "created"
        return "waiting" if attempt in self.waiters else ""

    def ticket_of(self, attempt: str) -> tuple[Ticket, str]:
        """The attempt's ticket, and its process."""
        process, fence, price, shared, order, _, model = self.tickets[attempt].split("\t")
        return Ticket(attempt, int(fence), to_usd(int(price)), shared, int(order) // 2**42, model), process

    def price_of(self, attempt: str) -> int:
        return to_micro(self.ticket_of(attempt)[0].price_usd)

    def check_itself(self) -> None:
        """Counters equal the sets they count."""
        assert self.granted.keys() | self.creating.keys() <= self.slots.keys()
        assert not self.granted.keys() & self.creating.keys() and not self.slots.keys() & self.waiters.keys()
        assert self.tickets.keys() == self.slots.keys() | self.waiters.keys()
        counts = [entry.split(":") for entry in self.window]
        assert sum(int(posts) for _, posts, _ in counts) == int(self.limits.get("posts", 0))
        assert sum(int(refused) for *_, refused in counts) == int(self.limits.get("refused", 0))
        assert [int(time) for time, *_ in counts] == sorted(int(time) for time, *_ in counts)
        assert int(self.spend.get("reserved", 0)) == sum(map(self.price_of, self.slots)), "reserved with the slot"
        drawn = [attempt for attempt in self.slots if self.ticket_of(attempt)[0].budget == SHARED]
        assert int(self.shared.get("reserved", 0)) == sum(map(self.price_of, drawn))
