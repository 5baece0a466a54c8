"""What is over expires: with its batch, and not before."""

from __future__ import annotations

from replibatch.broker.publish import BULK
from replibatch.jobs import BatchLedger, Ledger
from tests.integration.ledgers import append, append_requests, now_ms, open_batch, request, settle
from tests.integration.sandbox_caller import wait_for


def ttl_ms(ledger: Ledger, key: str) -> int:
    return int(ledger.redis.pttl(ledger.prefix + key))


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
    append_requests(batches, {"one-0": request("one-0")}, 1, "two")
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
    append_requests(batches, {"one-0": request("one-0")}, 0, "two")
    batches.close("two")
    ledger.redis.hset(f"{ledger.prefix}batch:two", "held", "")  # fed by the next custodian's round
    batches.top_up("two")
    assert batches.state("two").is_over and ttl_ms(ledger, "batch:two") > 0


def test_asking_again_for_what_was_made_renews_it(ledger: Ledger) -> None:
    assert ledger.enqueue("job", request("job"), {}, priority=BULK)
    settle(ledger, "job")
    ledger.redis.pexpire(f"{ledger.prefix}gen:job", 60_000)
    assert not ledger.enqueue("job", request("job"), {}, priority=BULK)
    assert 60_000 < ttl_ms(ledger, "gen:job") <= ledger.keep_ms
