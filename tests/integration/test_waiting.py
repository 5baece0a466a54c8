"""What the line waits for, and for how long, as operators see it; who holds what."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from replibatch.limits import Limiter, Standing, Ticket
from replibatch.limits.reads import Reads
from replibatch.redisdb.scripts import run_together
from replibatch.settings import load


class Clock:
    """Redis' time, as the test has it."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(redis_url: str, clock: Clock) -> Iterator[Limiter]:
    """An account of two slots and four creates in ten seconds, its state trusted."""
    settings = load(global_max_concurrent=2, requests_per_minute=4, rate_window_seconds=10, lease_seconds=5)
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        limiter = Limiter(redis, settings, "worker/1/x", clock)
        assert limiter.heartbeat({}).must_report
        limiter.report("", waiting=[])
        clock.now += 2
        limiter.heartbeat({})
        limiter.rebuild([])
        assert not limiter.heartbeat({}).must_report
        yield limiter


def ticket(number: int) -> Ticket:
    return Ticket(f"g{number}:1", 1, 0.0)


def create(limiter: Limiter, number: int) -> None:
    assert limiter.acquire(ticket(number))[0] == Standing.CLAIMED
    run_together(limiter.redis, limiter.created_step(ticket(number), f"p{number}"))


def waited_seconds(limiter: Limiter, clock: Clock, seconds: float) -> dict[str, float]:
    """Lets time pass, a heartbeat each second, and says what was waited for meanwhile."""
    before = limiter.status().waited_seconds
    for _ in range(round(seconds)):
        clock.now += 1
        limiter.heartbeat({})
    after = limiter.status().waited_seconds
    changes = {cause: round(total - before.get(cause, 0), 3) for cause, total in after.items()}
    return {cause: change for cause, change in changes.items() if change}


def test_the_time_in_the_line_is_counted_by_what_it_waits_for(limiter: Limiter, clock: Clock) -> None:
    assert limiter.status().waiting_for is None
    assert waited_seconds(limiter, clock, 3) == {}
    create(limiter, 1)
    create(limiter, 2)
    for number in (3, 4, 5):
        assert limiter.acquire(ticket(number))[0] == Standing.WAITING
    assert limiter.status().waiting_for == "slots"
    assert waited_seconds(limiter, clock, 2) == {"slots": 6.0}

    run_together(limiter.redis, limiter.released_step(ticket(1), 0.0), limiter.released_step(ticket(2), 0.0))
    for number in (3, 4):
        assert limiter.claim([ticket(number)])[0] == [Standing.CLAIMED]
        run_together(
            limiter.redis,
            limiter.created_step(ticket(number), f"p{number}"),
            limiter.released_step(ticket(number), 0.0),
        )
    assert limiter.status().waiting_for == "window"
    assert waited_seconds(limiter, clock, 4) == {"window": 4.0}


def test_a_cooldown_is_a_cause_of_its_own(limiter: Limiter, clock: Clock) -> None:
    assert limiter.acquire(ticket(1))[0] == Standing.CLAIMED
    run_together(limiter.redis, limiter.throttled_step(ticket(1), 6.0))
    assert limiter.status().waiting_for == "cooldown"
    assert waited_seconds(limiter, clock, 3) == {"cooldown": 3.0}


def test_a_silence_is_not_taken_for_waiting(limiter: Limiter, clock: Clock) -> None:
    create(limiter, 1)
    create(limiter, 2)
    limiter.acquire(ticket(3))
    limiter.heartbeat({})
    clock.now += 1000
    limiter.heartbeat({})
    assert limiter.status().waited_seconds["slots"] <= 5


def test_who_holds_slots_and_who_waits(limiter: Limiter) -> None:
    create(limiter, 1)
    create(limiter, 2)
    limiter.acquire(ticket(3))
    assert limiter.holders() == {"worker/1/x": (2, 1)}


def test_reads_of_the_last_minute_are_counted(limiter: Limiter) -> None:
    reads = Reads(limiter.redis, load())
    for _ in range(7):
        reads.wait()
    with_real_time = Limiter(limiter.redis, load(), "another/1/x")
    assert with_real_time.status().reads == 7
