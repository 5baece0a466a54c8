"""What the line waits for, and for how long, as operators see it; who holds what."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from replibatch.limits import Gate, Standing, Ticket
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
def gate(redis_url: str, clock: Clock) -> Iterator[Gate]:
    """An account of two slots and four creates in ten seconds, its state trusted."""
    settings = load(global_max_concurrent=2, requests_per_minute=4, rate_window_seconds=10, lease_seconds=5)
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        gate = Gate(redis, settings, "worker/1/x", clock)
        assert gate.heartbeat({}).must_report
        gate.report("", waiting=[])
        clock.now += 2
        gate.heartbeat({})
        gate.rebuild([])
        assert not gate.heartbeat({}).must_report
        yield gate


def ticket(number: int) -> Ticket:
    return Ticket(f"g{number}:1", 1, 0.0)


def create(gate: Gate, number: int) -> None:
    assert gate.acquire(ticket(number))[0] == Standing.CLAIMED
    run_together(gate.redis, gate.created(ticket(number), f"p{number}"))


def waited_seconds(gate: Gate, clock: Clock, seconds: float) -> dict[str, float]:
    """Lets time pass, a heartbeat each second, and says what was waited for meanwhile."""
    before = gate.status()["waited_ms"]
    for _ in range(round(seconds)):
        clock.now += 1
        gate.heartbeat({})
    after = gate.status()["waited_ms"]
    changes = {cause: (total - before.get(cause, 0)) / 1000 for cause, total in after.items()}
    return {cause: change for cause, change in changes.items() if change}


def test_the_time_in_the_line_is_counted_by_what_it_waits_for(gate: Gate, clock: Clock) -> None:
    assert "waiting_for" not in gate.status()
    assert waited_seconds(gate, clock, 3) == {}
    create(gate, 1)
    create(gate, 2)
    for number in (3, 4, 5):
        assert gate.acquire(ticket(number))[0] == Standing.WAITING
    assert gate.status()["waiting_for"] == "slots"
    assert waited_seconds(gate, clock, 2) == {"slots": 6.0}

    run_together(gate.redis, gate.released(ticket(1), 0.0), gate.released(ticket(2), 0.0))
    for number in (3, 4):
        assert gate.claim([ticket(number)])[0] == [Standing.CLAIMED]
        run_together(gate.redis, gate.created(ticket(number), f"p{number}"), gate.released(ticket(number), 0.0))
    assert gate.status()["waiting_for"] == "window"
    assert waited_seconds(gate, clock, 4) == {"window": 4.0}


def test_a_cooldown_is_a_cause_of_its_own(gate: Gate, clock: Clock) -> None:
    assert gate.acquire(ticket(1))[0] == Standing.CLAIMED
    run_together(gate.redis, gate.throttled(ticket(1), 6.0))
    assert gate.status()["waiting_for"] == "cooldown"
    assert waited_seconds(gate, clock, 3) == {"cooldown": 3.0}


def test_a_silence_is_not_taken_for_waiting(gate: Gate, clock: Clock) -> None:
    create(gate, 1)
    create(gate, 2)
    gate.acquire(ticket(3))
    gate.heartbeat({})
    clock.now += 1000
    gate.heartbeat({})
    assert gate.status()["waited_ms"]["slots"] <= 5000


def test_who_holds_slots_and_who_waits(gate: Gate) -> None:
    create(gate, 1)
    create(gate, 2)
    gate.acquire(ticket(3))
    assert gate.holders() == {"worker/1/x": (2, 1)}


def test_reads_of_the_last_minute_are_counted(gate: Gate) -> None:
    reads = Reads(gate.redis, load())
    for _ in range(7):
        reads.wait()
    with_real_time = Gate(gate.redis, load(), "another/1/x")
    assert with_real_time.status()["reads"] == 7
