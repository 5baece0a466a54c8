"""The application's own tests: no network, no token, no wait."""

import asyncio

import pytest
from postcards import NotToday, collect, order, order_and_wait

from replibatch.testing import Fake, StandIn


def test_an_order_is_made_once(replibatch_fake: Fake) -> None:
    assert order(77, "hello") == order(77, "hello")
    postcard = collect(77)
    assert postcard is not None and postcard.picture and postcard.note == "made by qwen/qwen-image"
    assert replibatch_fake.books.created == 1 and replibatch_fake.books.spent_usd == 0.025
    assert [request.prompt for request in replibatch_fake.requests] == ["A postcard that says: hello"] * 2


def test_another_text_under_the_same_number_is_refused(replibatch_fake: Fake) -> None:
    order(77, "hello")
    with pytest.raises(NotToday, match="with another prompt"):
        order(77, "goodbye")
    assert replibatch_fake.books.created == 1


def test_a_customer_waits_while_it_is_made(replibatch_fake: Fake) -> None:
    replibatch_fake.hold()
    order(77, "hello")
    assert collect(77) is None
    replibatch_fake.release()
    assert collect(77) is not None


@pytest.mark.parametrize("reason", ["sensitive", "timeout", "failed"])
def test_a_picture_that_no_model_makes_costs_nothing(replibatch_fake: Fake, reason: str) -> None:
    replibatch_fake.will_fail(reason)
    order(77, "hello")
    postcard = collect(77)
    assert postcard is not None and not postcard.picture
    assert replibatch_fake.books.spent_usd == 0


def test_another_model_may_stand_in(replibatch_fake: Fake) -> None:
    replibatch_fake.will_fall_back("sensitive")
    order(77, "hello")
    postcard = collect(77)
    assert postcard is not None and postcard.note == "made by black-forest-labs/flux-dev"


@pytest.mark.parametrize("accepted", [False, None])
def test_the_queue_is_away(replibatch_fake: Fake, accepted: bool | None) -> None:
    replibatch_fake.will_be_unavailable(accepted)
    with pytest.raises(NotToday, match="try again"):
        order(77, "hello")
    order(77, "hello")
    assert replibatch_fake.books.created == 1


def test_many_at_once(replibatch_fake: Fake) -> None:
    async def customers() -> list[bytes]:
        return [each.picture for each in await asyncio.gather(*(order_and_wait(n, f"text {n}") for n in range(20)))]

    assert len(set(asyncio.run(customers()))) == 20


def test_nothing_is_left_of_other_tests(replibatch_fake: Fake) -> None:
    with pytest.raises(NotToday, match="no order 77"):
        collect(77)


@pytest.mark.parametrize("number", range(3))
def test_on_the_whole_queue(replibatch_sandbox: StandIn, number: int) -> None:
    """The same on a real Redis, with a real worker, against the stand-in for Replicate."""
    postcard = asyncio.run(order_and_wait(77, f"hello {number}"))
    assert postcard.picture and postcard.note == "made by qwen/qwen-image"
    assert len(replibatch_sandbox.books.create_times) == 1


def test_a_refusal_on_the_whole_queue(replibatch_sandbox: StandIn) -> None:
    postcard = asyncio.run(order_and_wait(77, "hello [[sensitive]]"))
    assert not postcard.picture and replibatch_sandbox.books.cost_usd == 0
