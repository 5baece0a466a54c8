"""The month's budget: by the calendar of UTC, whatever is in flight as the month ends."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from replibatch.limits import Limiter, Standing, Ticket
from replibatch.money import LARGEST_USD, to_micro
from replibatch.redisdb.scripts import run_together
from replibatch.settings import Settings

BUDGET_USD = 1.0


class Account:
    """A limiter on a clock of the test's own."""

    def __init__(self, redis: Redis, now: datetime) -> None:
        self.redis = redis
        self.now = now
        self.limiter = Limiter(redis, Settings(), "a", self.clock)
        self.limiter.heartbeat({})
        self.limiter.rebuild([])
        self.limiter.store_limits({"budget": to_micro(BUDGET_USD)})
        self.limiter.heartbeat({})

    def clock(self) -> float:
        return self.now.timestamp()

    def at(self, moment: datetime) -> None:
        self.now = moment
        self.limiter.heartbeat({})

    def asks(self, attempt: str, price_usd: float) -> Standing:
        return self.limiter.acquire(Ticket(attempt, 1, price_usd))[0]

    def ends(self, attempt: str, cost_usd: float) -> None:
        ticket = Ticket(attempt, 1, 0.0)
        run_together(
            self.redis, self.limiter.created_step(ticket, attempt), self.limiter.released_step(ticket, cost_usd)
        )

    def spent(self) -> tuple[float, float]:
        """This month's, and what is reserved."""
        status = self.limiter.status()
        return status.spent_usd, status.reserved_usd


@pytest.fixture
def account(redis_url: str) -> Iterator[Account]:
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        yield Account(redis, datetime(2026, 1, 31, 23, 59, 50, tzinfo=UTC))


def test_a_new_month_has_a_budget_of_its_own_but_for_what_is_in_flight(account: Account) -> None:
    assert account.asks("over", 0.5) == Standing.CLAIMED
    account.ends("over", 0.5)
    assert account.asks("running", 0.4) == Standing.CLAIMED
    assert account.asks("too much", 0.2) == Standing.UNAFFORDABLE
    account.at(datetime(2026, 2, 1, tzinfo=UTC))
    assert account.spent() == (0.0, pytest.approx(0.4))
    assert account.asks("too much still", 0.7) == Standing.UNAFFORDABLE
    assert account.asks("fits", 0.6) == Standing.CLAIMED
    account.ends("running", 0.4)
    account.ends("fits", 0.6)
    assert account.spent() == (pytest.approx(BUDGET_USD), 0.0)
    assert account.asks("any", 0.000001) == Standing.UNAFFORDABLE


def test_months_are_those_of_the_calendar(redis_url: str) -> None:
    """To the millisecond, in leap years and a century that is none."""
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        for year, month in product((2026, 2027, 2028, 2029, 2099, 2100, 2101, 2104), range(1, 13)):
            begins = datetime(year, month, 1, tzinfo=UTC)
            for moment in (begins - timedelta(milliseconds=1), begins):
                redis.flushall()
                account = Account(redis, moment)
                account.asks("one", 0.1)
                account.ends("one", 0.1)
                assert redis.hgetall(f"{account.limiter.prefix}spend") == {
                    f"{moment:%Y-%m}": "100000",
                    "reserved": "0",
                }


def test_a_price_that_is_not_known_fits_no_budget_and_reserves_nothing(account: Account) -> None:
    assert account.limiter.acquire(Ticket("unknown", 1, None))[0] == Standing.UNAFFORDABLE
    account.limiter.store_limits({"budget": None})
    account.limiter.heartbeat({})
    account.limiter.set_budget("capped", 5.0)
    assert account.limiter.acquire(Ticket("unknown", 1, None, "capped"))[0] == Standing.UNAFFORDABLE
    assert account.limiter.acquire(Ticket("unknown", 1, None, "open"))[0] == Standing.CLAIMED
    assert account.spent() == (0.0, 0.0)
    account.ends("unknown", 0.25)
    assert account.spent() == (0.25, 0.0)


AMOUNTS = st.one_of(
    st.none(), st.floats(), st.floats(0, 12_000), st.integers(-5, 10**12), st.sampled_from([1e-7, 1e9])
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(AMOUNTS, AMOUNTS), min_size=1, max_size=6))
def test_the_month_s_spend_only_grows_whatever_is_said_of_prices(
    account: Account, steps: list[tuple[float | None, float | None]]
) -> None:
    account.limiter.store_limits({"budget": None})
    account.limiter.heartbeat({})
    for price_usd, cost_usd in steps:
        before, _ = account.spent()
        attempt = uuid4().hex
        try:
            standing, _ = account.limiter.acquire(Ticket(attempt, 1, price_usd))
        except ValueError:
            assert price_usd is not None and not 0 <= price_usd <= LARGEST_USD
            continue
        assert standing == Standing.CLAIMED
        _, reserved = account.spent()
        assert reserved == pytest.approx(price_usd or 0.0, abs=1e-6)
        try:
            account.ends(attempt, 0.0 if cost_usd is None else cost_usd)
        except (ValueError, OverflowError):
            account.ends(attempt, 0.0)
        spent, reserved = account.spent()
        assert spent >= before and reserved == 0


@pytest.mark.parametrize("usd", [-1, math.nan, math.inf, 1e10])
def test_a_budget_is_an_amount(account: Account, usd: float) -> None:
    with pytest.raises(ValueError, match="max_cost_usd is"):
        account.limiter.set_budget("batch", usd)
