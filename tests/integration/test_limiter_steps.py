"""The money of an item's steps stays its own, whatever becomes of its attempts, until its custody ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from replibatch.limits import Limiter, Standing, Ticket
from replibatch.redisdb.scripts import run_together
from replibatch.settings import Settings

STEP_USD, WHOLE_USD = 1.0, 10.0


def step(number: int, *, item: str = "item", whole_usd: float = WHOLE_USD) -> Ticket:
    """An attempt at a step; those to come are in the whole price."""
    return Ticket(f"{item}:{number}", 1, STEP_USD, "batch", has_steps=True, whole_usd=whole_usd)


def reserved_usd(limiter: Limiter) -> float:
    reserved = int(limiter.redis.hget(f"{limiter.prefix}budget:batch", "reserved") or 0) / 1_000_000
    assert limiter.status().reserved_usd == pytest.approx(reserved), "the account's and the batch's are one"
    return reserved


@pytest.fixture
def limiter(redis_url: str) -> Iterator[Limiter]:
    """Of an account with a batch whose budget is one item's, and half a step."""
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        limiter = Limiter(redis, Settings(global_max_concurrent=3), "worker")
        limiter.heartbeat({})
        limiter.rebuild([])
        limiter.set_budget("batch", WHOLE_USD + STEP_USD / 2)
        yield limiter


def refused(limiter: Limiter) -> None:
    run_together(limiter.redis, limiter.refused_step(step(1)))


def never_created(limiter: Limiter) -> None:
    run_together(limiter.redis, limiter.refused_step(step(1)), limiter.released_step(step(1), 0.0))


def failed(limiter: Limiter) -> None:
    run_together(limiter.redis, limiter.created_step(step(1), "p1"))
    limiter.release(step(1))


def given_up(limiter: Limiter) -> None:
    """By a worker that drains, or takes over a hand-off that nobody has claimed."""
    limiter.release(step(1))


def stopped(limiter: Limiter) -> None:
    """The hand-off meets an account that was stopped; then it goes on."""
    limiter.redis.zadd(f"{limiter.prefix}granted", {"item:1": limiter.redis.time()[0] * 1000 + 60_000})
    limiter.redis.zrem(f"{limiter.prefix}creating", "item:1")
    limiter.redis.hset(f"{limiter.prefix}limits", mapping={"stopped": "NoCredit", "stop_message": "no"})
    assert limiter.claim([step(1)])[0] == [Standing.STOPPED]
    limiter.resume()


def unknown_to_its_process(limiter: Limiter) -> None:
    """An older copy of the state has what its process has given back since."""
    limiter.redis.hset(f"{limiter.prefix}limits", "epoch", "run of another server")
    limiter.holdings.let_go(step(1))
    limiter.report("", [])
    limiter.rebuild([])


@pytest.mark.parametrize("ends", [refused, never_created, failed, given_up, stopped, unknown_to_its_process])
def test_an_attempt_that_cost_nothing_leaves_the_money_with_its_item(
    limiter: Limiter, ends: Callable[[Limiter], None]
) -> None:
    assert limiter.acquire(step(1))[0] == Standing.CLAIMED
    ends(limiter)
    assert reserved_usd(limiter) == WHOLE_USD
    assert limiter.acquire(step(1, item="other", whole_usd=2.0))[0] == Standing.UNAFFORDABLE
    assert limiter.acquire(step(2))[0] == Standing.CLAIMED, "its next attempt"
    assert reserved_usd(limiter) == WHOLE_USD


def test_an_attempt_that_cost_something_leaves_the_rest(limiter: Limiter) -> None:
    limiter.acquire(step(1))
    run_together(limiter.redis, limiter.created_step(step(1), "p1"))
    for _ in range(2):  # a repeated call changes nothing twice
        limiter.release(step(1), 0.25)
    assert reserved_usd(limiter) == WHOLE_USD - 0.25


def test_a_step_that_is_made_is_paid_and_holds_no_money(limiter: Limiter) -> None:
    limiter.acquire(step(1))
    run_together(limiter.redis, limiter.created_step(step(1), "p1"))
    run_together(limiter.redis, limiter.released_step(step(1), 0.5, succeeded=True))
    assert reserved_usd(limiter) == WHOLE_USD - STEP_USD


def test_an_attempt_that_ends_late_brings_nothing_to_the_one_that_has_followed(limiter: Limiter) -> None:
    """It was given up as timed out; its slot was held until its prediction was seen to end."""
    limiter.set_budget("batch", 2 * WHOLE_USD)
    limiter.acquire(step(1))
    run_together(limiter.redis, limiter.created_step(step(1), "p1"))
    limiter.acquire(step(2))
    assert reserved_usd(limiter) == STEP_USD + WHOLE_USD
    limiter.release(step(1))
    assert reserved_usd(limiter) == WHOLE_USD
