"""What is over expires: with its batch, and not before."""

from __future__ import annotations

from replibatch.broker.publish import BULK
from replibatch.jobs import Batches, Jobs
from tests.support.jobs import append, append_requests, now_ms, open_batch, request, settle
from tests.support.sandbox_caller import wait_for


def ttl_ms(jobs: Jobs, key: str) -> int:
    return int(jobs.redis.pttl(jobs.prefix + key))


def test_a_budget_that_batches_share_lasts_as_long_as_any_of_them(jobs: Jobs, batches: Batches) -> None:
    budget = f"{jobs.prefix}budget:shared"
    jobs.redis.hset(budget, "cap", 7)
    for batch in ("one", "two"):
        open_batch(batches, batch, budget="shared")
        append(batches, 1, batch=batch)
        batches.close(batch)
    batches.hold("two", "paused")
    settle(jobs, "one-0")
    assert batches.state("one").is_over and jobs.redis.ttl(f"{jobs.prefix}batch:one") > 0
    assert jobs.redis.ttl(budget) == -1, "the other one will need it"
    settle(jobs, "two-0")
    assert jobs.redis.ttl(budget) > 0
    assert not jobs.redis.exists(f"{budget}:batches")


def test_expired_batches_are_forgotten_and_budgets_go_with_their_batch(jobs: Jobs, batches: Batches) -> None:
    open_batch(batches, budget="shared")
    jobs.redis.hset(f"{jobs.prefix}budget:shared", "cap", 1)
    append(batches, 1)
    batches.close("one")
    assert jobs.redis.pttl(f"{jobs.prefix}budget:shared") == -1
    settle(jobs, "one-0")
    for key in ("budget:shared", "batch:one", "batch:one:finished", "gen:one-0"):
        assert 0 < jobs.redis.pttl(jobs.prefix + key) <= jobs.keep_ms, key
    jobs.redis.delete(f"{jobs.prefix}batch:one")
    batches.tidy()
    assert not jobs.redis.zcard(f"{jobs.prefix}batches")


def test_results_last_as_long_as_the_batch_that_wants_them(jobs: Jobs, batches: Batches) -> None:
    jobs.keep_ms = 500
    open_batch(batches)
    append(batches, 2)
    batches.close("one")
    settle(jobs, "one-0")
    assert ttl_ms(jobs, "gen:one-0") == -1, "the batch may last longer than results are kept"
    started = now_ms(jobs)
    wait_for(lambda: now_ms(jobs) > started + 2 * jobs.keep_ms)
    settle(jobs, "one-1")
    assert [(each.index, each.result is not None) for each in batches.finished("one")] == [(0, True), (1, True)]
    wait_for(lambda: not jobs.redis.keys(f"{jobs.prefix}gen:*"))
    wait_for(lambda: not jobs.redis.keys(f"{jobs.prefix}batch:one*"))


def test_a_long_batch_has_its_records_expire_page_by_page_and_goes_last(jobs: Jobs, batches: Batches) -> None:
    count = 450  # more than two pages
    jobs.capacity = count
    open_batch(batches)
    append(batches, count)
    for place in range(count):
        settle(jobs, f"one-{place}")
    batches.close("one")

    def lasting() -> int:
        return sum(ttl_ms(jobs, f"gen:one-{place}") == -1 for place in range(count))

    assert 0 < lasting() < count and ttl_ms(jobs, "batch:one") == -1
    wait_for(lambda: not batches.tidy() and ttl_ms(jobs, "batch:one") > 0)
    assert lasting() == 0 and not jobs.redis.exists(f"{jobs.prefix}batches:aging")
    # Appended to, it goes on, and so do they.
    append(batches, 1, offset=count)
    assert ttl_ms(jobs, "batch:one") == ttl_ms(jobs, "batch:one:finished") == -1
    wait_for(lambda: not batches.tidy() and lasting() == count)


def test_a_record_that_two_batches_need_lasts_as_long_as_either(jobs: Jobs, batches: Batches) -> None:
    open_batch(batches)
    append(batches, 1)
    batches.close("one")
    settle(jobs, "one-0")
    jobs.redis.pexpire(f"{jobs.prefix}gen:one-0", 60_000)  # as when most of its time is over
    open_batch(batches, "two")
    append(batches, 1, batch="two")
    append_requests(batches, {"one-0": request("one-0")}, 1, "two")
    batches.close("two")
    assert batches.state("two").succeeded == 1 and ttl_ms(jobs, "gen:one-0") == -1
    settle(jobs, "two-0")
    assert batches.state("two").is_over and ttl_ms(jobs, "gen:one-0") > 60_000


def test_a_batch_whose_last_ones_had_been_made_before_expires(jobs: Jobs, batches: Batches) -> None:
    open_batch(batches)
    append(batches, 1)
    settle(jobs, "one-0")
    open_batch(batches, "two")
    batches.hold("two", "paused")
    append_requests(batches, {"one-0": request("one-0")}, 0, "two")
    batches.close("two")
    jobs.redis.hset(f"{jobs.prefix}batch:two", "held", "")  # fed by the next takeover's round
    batches.top_up("two")
    assert batches.state("two").is_over and ttl_ms(jobs, "batch:two") > 0


def test_asking_again_for_what_was_made_renews_it(jobs: Jobs) -> None:
    assert jobs.enqueue("job", request("job"), {}, priority=BULK)
    settle(jobs, "job")
    jobs.redis.pexpire(f"{jobs.prefix}gen:job", 60_000)
    assert not jobs.enqueue("job", request("job"), {}, priority=BULK)
    assert 60_000 < ttl_ms(jobs, "gen:job") <= jobs.keep_ms
