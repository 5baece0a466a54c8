"""A batch in the ledger: fed, canceled, retried, closed for a submitter that is gone, expired."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from replibatch.ledger import BatchLedger, Ledger, Packer, PendingEntry, capacity_for
from replibatch.ledger.batches import QUIET_MS
from replibatch.ledger.holds import PAUSED
from replibatch.messages import BULK
from replibatch.requests import Attempt, BatchResult, RoutedRequest, State
from replibatch.scripts import run_together
from replibatch.settings import load
from tests.integration.sandbox_caller import wait_for

MODEL = "a/model"


@pytest.fixture
def ledger(redis_url: str) -> Iterator[Ledger]:
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        ledger = Ledger(redis, load(), "this/1/process")
        ledger.capacity = 4
        yield ledger


@pytest.fixture
def batches(ledger: Ledger) -> BatchLedger:
    return BatchLedger(ledger)


def append(batches: BatchLedger, count: int, offset: int = 0, batch: str = "one") -> list[str]:
    packer = Packer()
    entries = [
        packer.pack(
            PendingEntry(
                f"{batch}-{place}",
                place,
                RoutedRequest(f"asked {place}", f"p {place}", MODEL, MODEL, {"width": 7}, (), f"out/{place}.png"),
            )
        )
        for place in range(offset, offset + count)
    ]
    return [message.id for message in batches.append(batch, offset, entries, packer.fresh(), {})]


def open_batch(batches: BatchLedger, batch: str = "one", *, purse: str = "") -> None:
    batches.open(batch, max_concurrent=None, priority=BULK, about={}, purse=purse)


def settle(ledger: Ledger, name: str, state: State = State.SUCCEEDED) -> None:
    record = ledger.take(name, 1)
    assert record is not None
    result = BatchResult(name, record.request.prompt, MODEL, MODEL, state == State.SUCCEEDED, state=state)
    ledger.settle(record, state, result)


def test_a_task_gets_the_whole_request(ledger: Ledger, batches: BatchLedger) -> None:
    open_batch(batches, purse="shared")
    assert append(batches, 2) == ["one-0", "one-1"]
    record = ledger.take("one-1", 1)
    assert record is not None and (record.index, record.batch, record.purse) == (1, "one", "shared")
    assert record.request == RoutedRequest("asked 1", "p 1", MODEL, MODEL, {"width": 7}, (), "out/1.png")
    # Put back and fed again it is the same.
    run_together(ledger.redis, ledger.put_back(record, "paused"))
    assert [message.id for message in batches.hold("one", "")] == ["one-1"]
    again = ledger.take("one-1", 1)
    assert again is not None and again.request == record.request


def test_a_chunk_that_is_repeated_counts_once(batches: BatchLedger) -> None:
    open_batch(batches)
    append(batches, 10)
    append(batches, 10)
    assert batches.state("one").total == 10
    append(batches, 3, offset=10)
    assert batches.state("one").total == 13


def test_what_is_appended_after_a_cancel_never_starts(ledger: Ledger, batches: BatchLedger) -> None:
    open_batch(batches)
    assert len(append(batches, 10)) == 4
    assert batches.drop("one") == 6
    assert append(batches, 5, offset=10) == []
    state = batches.state("one")
    assert (state.total, state.pending, state.canceled, state.outstanding) == (15, 0, 11, 4)
    # What comes back from the queue now is canceled, too.
    record = ledger.take("one-0", 1)
    assert record is not None
    run_together(ledger.redis, ledger.put_back(record, "paused"))
    assert batches.state("one").pending == 0 and batches.state("one").canceled == 12
    batches.close("one")
    for place in (1, 2, 3):
        settle(ledger, f"one-{place}")
    assert batches.state("one").is_over
    assert sorted(entry.index for entry in batches.unstarted("one")) == [0, *range(4, 15)]


def test_nothing_is_sent_of_what_is_canceled_or_has_not_begun_and_is_paused(
    ledger: Ledger, batches: BatchLedger
) -> None:
    """However late its worker hears of it."""
    open_batch(batches)
    append(batches, 3)
    first, second, third = (record for place in range(3) if (record := ledger.take(f"one-{place}", 1)))
    assert ledger.intend(first, "sent") == "ok"
    batches.hold("one", PAUSED)
    assert ledger.intend(second, "sent") == "paused"
    ledger.advance(third, MODEL, [], 0.0)
    begun = ledger.take("one-2", 2)
    assert begun and ledger.intend(begun, "sent") == "ok"
    batches.hold("one", "")
    ledger.ask_to_cancel(second.id)
    assert [ledger.intend(record, "sent") for record in (first, second, begun)] == ["ok", "canceled", "ok"]
    batches.drop("one", forget=True)
    assert ledger.intend(begun, "sent") == "ok"
    batches.drop("one")
    assert [ledger.intend(record, "sent") for record in (first, second, begun)] == ["canceled"] * 3


def test_a_hold_found_before_the_batch_was_let_go_on_holds_no_more(ledger: Ledger, batches: BatchLedger) -> None:
    open_batch(batches)
    append(batches, 1)
    early = ledger.take("one-0", 1)
    assert early is not None
    batches.hold("one", "paused")
    assert batches.hold("one", "") == []
    run_together(ledger.redis, ledger.put_back(early, "paused"))
    assert batches.state("one").held == "" and batches.feeding() == {"one"}
    assert [message.id for message in batches.top_up("one")] == ["one-0"]
    # One found since then does.
    wait_for(lambda: int(ledger.redis.hget(f"{ledger.prefix}batch:one", "let_go_at") or 0) < now_ms(ledger))
    late = ledger.take("one-0", 1)
    assert late is not None
    run_together(ledger.redis, ledger.put_back(late, "budget"))
    assert batches.state("one").held == "budget" and batches.feeding() == set()


def now_ms(ledger: Ledger) -> int:
    seconds, microseconds = ledger.redis.time()
    return seconds * 1000 + microseconds // 1000


def test_what_was_put_back_after_an_attempt_takes_that_ones_prediction_for_nobodys(
    ledger: Ledger, batches: BatchLedger
) -> None:
    open_batch(batches)
    append(batches, 1)
    first = ledger.take("one-0", 1)
    assert first is not None
    assert run_together(ledger.redis, ledger.created(first, "p1")) == ["ok"]
    failed = Attempt(MODEL, "p1", "failed", "failed", "no", 1.0, 0.0)
    assert ledger.advance(first, MODEL, [failed], 0.0)
    second = ledger.take("one-0", 2)
    assert second is not None
    run_together(ledger.redis, ledger.put_back(second, "stopped: no credit"))
    batches.hold("one", "")
    again = ledger.take("one-0", 2)
    assert again is not None and again.attempts == (failed,)
    assert run_together(ledger.redis, ledger.created(again, "p1")) == ["twin"]
    assert run_together(ledger.redis, ledger.created(again, "p2")) == ["ok"]


def put_back_after_an_attempt(ledger: Ledger, name: str, number: int = 1) -> tuple[Attempt, ...]:
    """A paid attempt fails, and the account is stopped at the next; returns all attempts so far."""
    record = ledger.take(name, number)
    assert record is not None
    attempts = (*record.attempts, Attempt(MODEL, f"p{number}", "failed", "erased", "no", 1.0, 0.25))
    assert ledger.advance(record, "next/model", attempts, 0.0)
    following = ledger.take(name, number + 1)
    assert following is not None
    assert run_together(ledger.redis, ledger.put_back(following, "stopped: no credit")) == [1]
    return attempts


def test_what_was_put_back_goes_on_where_it_was_and_its_cost_counts_once(
    ledger: Ledger, batches: BatchLedger
) -> None:
    open_batch(batches)
    append(batches, 1)
    batches.close("one")
    put_back_after_an_attempt(ledger, "one-0")
    assert batches.state("one").cost_usd == 0.25
    (message,) = batches.hold("one", "")
    assert (message.id, message.attempt, message.model) == ("one-0", 2, "next/model")
    attempts = put_back_after_an_attempt(ledger, "one-0", 2)  # the same once more
    assert batches.state("one").cost_usd == 0.5
    batches.hold("one", "")
    record = ledger.take("one-0", 3)
    assert record is not None and record.attempts == attempts and record.model == "next/model"
    result = BatchResult("one-0", "p 0", MODEL, MODEL, True, attempts=attempts, cost_usd=0.75)
    ledger.settle(record, State.SUCCEEDED, result)
    assert batches.state("one").is_over and batches.state("one").cost_usd == 0.75


def test_what_was_put_back_and_canceled_keeps_its_attempts(ledger: Ledger, batches: BatchLedger) -> None:
    open_batch(batches)
    append(batches, 2)
    attempts = put_back_after_an_attempt(ledger, "one-0")
    assert [entry.attempts for entry in batches.unstarted("one")] == [attempts]
    batches.drop("one")
    assert [entry.attempts for entry in batches.unstarted("one")] == [attempts]
    assert batches.state("one").cost_usd == 0.25


def test_a_follower_of_what_was_put_back_goes_on_where_it_was_too(ledger: Ledger, batches: BatchLedger) -> None:
    open_batch(batches)
    append(batches, 1)
    open_batch(batches, "two")
    packer = Packer()
    entry = packer.pack(PendingEntry("one-0", 0, RoutedRequest("r", "p", MODEL, MODEL, {}, (), "r.png")))
    batches.append("two", 0, [entry], packer.fresh(), {})
    put_back_after_an_attempt(ledger, "one-0")
    assert [message.attempt for message in batches.top_up("two")] == [2]
    record = ledger.take("one-0", 2)
    assert record is not None and len(record.attempts) == 1
    result = BatchResult("one-0", "p 0", MODEL, MODEL, True, attempts=record.attempts, cost_usd=0.5)
    ledger.settle(record, State.SUCCEEDED, result)
    assert (batches.state("one").cost_usd, batches.state("two").cost_usd) == (0.25, 0.25)
    batches.hold("one", "")
    assert batches.state("one").succeeded == 1 and not ledger.redis.exists(f"{ledger.prefix}batch:one:begun")


def test_a_budget_that_batches_share_lasts_as_long_as_any_of_them(ledger: Ledger, batches: BatchLedger) -> None:
    budget = f"{ledger.prefix}purse:shared"
    ledger.redis.hset(budget, "cap", 7)
    for batch in ("one", "two"):
        open_batch(batches, batch, purse="shared")
        append(batches, 1, batch=batch)
        batches.close(batch)
    batches.hold("two", "paused")
    settle(ledger, "one-0")
    assert batches.state("one").is_over and ledger.redis.ttl(f"{ledger.prefix}batch:one") > 0
    assert ledger.redis.ttl(budget) == -1, "the other one will need it"
    settle(ledger, "two-0")
    assert ledger.redis.ttl(budget) > 0
    assert not ledger.redis.exists(f"{budget}:batches")


def test_retrying_takes_failures_and_what_was_dropped_each_once(ledger: Ledger, batches: BatchLedger) -> None:
    open_batch(batches)
    append(batches, 8)
    batches.close("one")
    settle(ledger, "one-0")
    settle(ledger, "one-1", State.FAILED)
    settle(ledger, "one-2", State.PLACEHOLDER)
    batches.drop("one")
    for place in (3, 4, 5, 6):
        settle(ledger, f"one-{place}", State.CANCELED)
    assert batches.state("one").is_over
    (page,) = batches.pages("one")
    failed = [item for item in page if item.result and not item.result.success]
    again, left, messages = batches.retry("one", failed)
    assert (again, left, len(messages)) == (7, 0, 4)
    assert batches.retry("one", failed) == (0, 0, [])
    state = batches.state("one")
    assert (state.succeeded, state.finished, state.pending + state.outstanding) == (1, 1, 7)
    while names := [message.id for message in messages] or list(batches.outstanding("one")):
        messages = []
        for name in names:
            settle(ledger, name)
    assert batches.state("one").is_over and batches.state("one").succeeded == 8
    indexes = [item.index for item in batches.finished("one")]
    assert sorted(indexes) == list(range(8))  # nothing is told twice


def test_a_batch_whose_submitter_is_gone_is_closed_and_opened_again_by_appending(
    ledger: Ledger, batches: BatchLedger
) -> None:
    open_batch(batches)
    append(batches, 2)
    assert batches.tidy() == 0
    ledger.redis.zincrby(f"{ledger.prefix}batches:open", -QUIET_MS - 1000, "one")
    assert batches.tidy() == 1 and batches.state("one").closed
    assert append(batches, 1, offset=2) == ["one-2"] and not batches.state("one").closed


def test_expired_batches_are_forgotten_and_purses_go_with_their_batch(ledger: Ledger, batches: BatchLedger) -> None:
    open_batch(batches, purse="shared")
    ledger.redis.hset(f"{ledger.prefix}purse:shared", "cap", 1)
    append(batches, 1)
    batches.close("one")
    assert ledger.redis.pttl(f"{ledger.prefix}purse:shared") == -1
    settle(ledger, "one-0")
    for key in ("purse:shared", "batch:one", "batch:one:finished", "gen:one-0"):
        assert 0 < ledger.redis.pttl(ledger.prefix + key) <= ledger.keep_ms, key
    ledger.redis.delete(f"{ledger.prefix}batch:one")
    batches.tidy()
    assert not ledger.redis.zcard(f"{ledger.prefix}batches")


def ttl_ms(ledger: Ledger, key: str) -> int:
    return int(ledger.redis.pttl(ledger.prefix + key))


def test_results_last_as_long_as_the_batch_that_wants_them(ledger: Ledger, batches: BatchLedger) -> None:
    ledger.keep_ms = 500
    open_batch(batches)
    append(batches, 2)
    batches.close("one")
    settle(ledger, "one-0")
    assert ttl_ms(ledger, "gen:one-0") == -1, "the batch may last longer than results are kept"
    started = now_ms(ledger)
    wait_for(lambda: now_ms(ledger) > started + 2 * ledger.keep_ms)
    settle(ledger, "one-1")
    assert [(each.index, each.result is not None) for each in batches.finished("one")] == [(0, True), (1, True)]
    wait_for(lambda: not ledger.redis.keys(f"{ledger.prefix}gen:*"))
    wait_for(lambda: not ledger.redis.keys(f"{ledger.prefix}batch:one*"))


def test_a_long_batch_has_its_records_expire_page_by_page_and_goes_last(ledger: Ledger, batches: BatchLedger) -> None:
    count = 450  # more than two pages
    ledger.capacity = count
    open_batch(batches)
    append(batches, count)
    for place in range(count):
        settle(ledger, f"one-{place}")
    batches.close("one")

    def lasting() -> int:
        return sum(ttl_ms(ledger, f"gen:one-{place}") == -1 for place in range(count))

    assert 0 < lasting() < count and ttl_ms(ledger, "batch:one") == -1
    wait_for(lambda: not batches.tidy() and ttl_ms(ledger, "batch:one") > 0)
    assert lasting() == 0 and not ledger.redis.exists(f"{ledger.prefix}batches:aging")
    # Appended to, it goes on, and so do they.
    append(batches, 1, offset=count)
    assert ttl_ms(ledger, "batch:one") == ttl_ms(ledger, "batch:one:finished") == -1
    wait_for(lambda: not batches.tidy() and lasting() == count)


def test_a_record_that_two_batches_need_lasts_as_long_as_either(ledger: Ledger, batches: BatchLedger) -> None:
    open_batch(batches)
    append(batches, 1)
    batches.close("one")
    settle(ledger, "one-0")
    ledger.redis.pexpire(f"{ledger.prefix}gen:one-0", 60_000)  # as when most of its time is over
    open_batch(batches, "two")
    append(batches, 1, batch="two")
    packer = Packer()
    entry = packer.pack(PendingEntry("one-0", 1, RoutedRequest("r", "p", MODEL, MODEL, {}, (), "r.png")))
    batches.append("two", 1, [entry], packer.fresh(), {})
    batches.close("two")
    assert batches.state("two").succeeded == 1 and ttl_ms(ledger, "gen:one-0") == -1
    settle(ledger, "two-0")
    assert batches.state("two").is_over and ttl_ms(ledger, "gen:one-0") > 60_000


def test_a_batch_whose_last_ones_had_been_made_before_expires(ledger: Ledger, batches: BatchLedger) -> None:
    open_batch(batches)
    append(batches, 1)
    settle(ledger, "one-0")
    open_batch(batches, "two")
    batches.hold("two", "paused")
    packer = Packer()
    entry = packer.pack(PendingEntry("one-0", 0, RoutedRequest("r", "p", MODEL, MODEL, {}, (), "r.png")))
    batches.append("two", 0, [entry], packer.fresh(), {})
    batches.close("two")
    ledger.redis.hset(f"{ledger.prefix}batch:two", "held", "")  # fed by the next custodian's round
    batches.top_up("two")
    assert batches.state("two").is_over and ttl_ms(ledger, "batch:two") > 0


def test_asking_again_for_what_was_made_renews_it(ledger: Ledger) -> None:
    request = RoutedRequest("r", "p", MODEL, MODEL, {}, (), "r.png")
    assert ledger.enqueue("job", request, {}, priority=BULK)
    settle(ledger, "job")
    ledger.redis.pexpire(f"{ledger.prefix}gen:job", 60_000)
    assert not ledger.enqueue("job", request, {}, priority=BULK)
    assert 60_000 < ttl_ms(ledger, "gen:job") <= ledger.keep_ms


@pytest.mark.parametrize(("limit", "capacity"), [(1, 5), (16, 20), (60, 75), (1000, 1250)])
def test_a_fleet_has_a_little_more_at_hand_than_is_in_flight(limit: int, capacity: int) -> None:
    assert capacity_for(limit) == capacity
