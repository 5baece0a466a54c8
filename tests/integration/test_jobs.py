"""Custody on a real Redis: a generation is always in exactly one place, and who has lost it changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from replibatch.broker.app import make_app
from replibatch.broker.publish import publish, queue_lists
from replibatch.jobs import Batches, Jobs, Message, Notice, Record
from replibatch.jobs.holds import PAUSED
from replibatch.redisdb.scripts import Step, run_together
from replibatch.requests import Attempt, BatchResult, State
from replibatch.settings import load
from tests.support.jobs import MODEL, closed_batch, request, take
from tests.support.sandbox_caller import wait_for

Process = Callable[[str], Jobs]
GRACE_SECONDS = 0.2
FAILED = Attempt(MODEL, "p1", "failed", "failed", "no", 1.0, 0.0)


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def process(redis: Redis) -> Process:
    """A process's view of the records, by its name."""
    return lambda name: Jobs(redis, load(), name)


@pytest.fixture
def a(process: Process) -> Jobs:
    return process("a")


@pytest.fixture
def b(process: Process) -> Jobs:
    return process("b")


def run(jobs: Jobs, step: Step) -> Any:
    return run_together(jobs.redis, step)[0]


def enqueue(jobs: Jobs, name: str = "g") -> None:
    assert jobs.enqueue(name, request(name), {}, priority=3)


def result(name: str = "g") -> BatchResult:
    return BatchResult(name, f"prompt {name}", MODEL, MODEL, True, cost_usd=0.5)


def settle(jobs: Jobs, record: Record, state: State = State.SUCCEEDED) -> bool:
    return jobs.settle(record, state, result(record.id)) is not None


@pytest.fixture
def lost(a: Jobs, b: Jobs) -> Record:
    """A's record of a generation that B has taken over."""
    enqueue(a)
    record = take(a, "g")
    (theirs,) = b.take_over("a")
    assert theirs.fence > record.fence
    return record


class TestFencing:
    def test_who_has_lost_custody_settles_nothing(self, a: Jobs, b: Jobs, lost: Record) -> None:
        assert not settle(a, lost)
        assert b.outcome("g")[0] == "running"

    def test_nor_advances(self, a: Jobs, b: Jobs, lost: Record) -> None:
        assert not a.advance(lost, "another/model", [FAILED], 0.0)
        assert b.outcome("g")[:2] == ("running", 1)

    def test_nor_requeues_or_puts_back(self, a: Jobs, b: Jobs, lost: Record) -> None:
        assert a.requeue(lost) is None
        assert run(a, a.put_back_step(lost, PAUSED)) == 0
        assert b.custody() == {"g"} and a.custody() == set()

    def test_nor_sends_anything(self, a: Jobs, b: Jobs, lost: Record) -> None:
        assert a.intend(lost, "theirs") == "lost"
        record = b.record("g")
        assert record is not None and record.sent is None

    def test_nor_records_its_prediction(self, a: Jobs, b: Jobs, lost: Record) -> None:
        assert run(a, a.created_step(lost, "p1")) == "fenced"
        record = b.record("g")
        assert record is not None and record.prediction_id is None

    def test_not_even_the_same_process_in_an_earlier_custody(self, a: Jobs, b: Jobs, lost: Record) -> None:
        (again,) = a.take_over("b")
        assert not settle(a, lost)
        assert a.requeue(lost) is None
        assert settle(a, again)

    def test_a_generation_made_again_is_not_its_earlier_life(self, a: Jobs) -> None:
        enqueue(a)
        first = take(a, "g")
        assert settle(a, first)
        a.forget(["g"])
        enqueue(a)
        second = take(a, "g")
        assert second.fence > first.fence
        assert not settle(a, first) and settle(a, second)


class TestNotices:
    """What others are told, Celery's result backend above all, is what the record says."""

    def test_they_are_given_with_what_they_say(self, a: Jobs) -> None:
        enqueue(a)
        with a.redis.pubsub() as listener:
            listener.subscribe("told:g")
            record = a.take("g", 1, Notice("told:g", "started", 60))
            assert record is not None
            assert a.redis.get("told:g") == "started"
            a.settle(record, State.FAILED, result(), Notice("told:g", "failed", 60))
            assert a.redis.get("told:g") == "failed" and 0 < a.redis.ttl("told:g") <= 60
            heard = [message["data"] for _ in range(3) if (message := listener.get_message(timeout=5))]
        assert heard == [1, "started", "failed"]

    def test_who_has_lost_custody_gives_none(self, a: Jobs, b: Jobs, lost: Record) -> None:
        assert a.take("g", 1, Notice("told:g", "started", 60)) is None
        a.settle(lost, State.FAILED, result(), Notice("told:g", "failed", 60))
        assert a.redis.get("told:g") is None
        (theirs,) = a.take_over("b")
        assert a.settle(theirs, State.SUCCEEDED, result(), Notice("told:g", "succeeded", 60))
        a.settle(lost, State.FAILED, result(), Notice("told:g", "failed", 60))
        assert b.redis.get("told:g") == "succeeded"


class TestPredictions:
    def test_what_is_sent_is_written_down_first(self, a: Jobs) -> None:
        enqueue(a)
        assert a.intend(take(a, "g"), "what was sent") == "ok"
        record = a.record("g")
        assert record is not None and record.sent == "what was sent"

    def test_one_is_claimed_once(self, a: Jobs) -> None:
        for name in "gh":
            enqueue(a, name)
        first, second = take(a, "g"), take(a, "h")
        assert run(a, a.created_step(first, "p1")) == "ok"
        assert run(a, a.created_step(second, "p1")) == "twin"
        assert run(a, a.created_step(second, "p2")) == "ok"
        found = {name: a.record(name) for name in "gh"}
        assert {name: record and record.prediction_id for name, record in found.items()} == {"g": "p1", "h": "p2"}

    def test_it_stays_claimed_as_long_as_the_account_s_list_shows_what_it_was_made_of(self, redis: Redis) -> None:
        jobs = Jobs(redis, load(keep_days=0.05), "a")
        enqueue(jobs)
        assert run(jobs, jobs.created_step(take(jobs, "g"), "p1")) == "ok"
        assert redis.ttl(jobs.prefix + "prediction:p1") > 24 * 3600

    def test_a_repeated_call_claims_nothing_twice(self, a: Jobs) -> None:
        enqueue(a)
        record = take(a, "g")
        assert [run(a, a.created_step(record, "p1")) for _ in range(2)] == ["ok", "ok"]

    def test_a_late_reply_to_who_lost_custody_is_kept_for_the_one_who_looks_for_it(
        self, a: Jobs, b: Jobs, lost: Record
    ) -> None:
        enqueue(b, "twin")
        twin = take(b, "twin")
        assert run(a, a.created_step(lost, "p1")) == "fenced"
        assert run(b, b.created_step(twin, "p1")) == "twin"
        theirs = b.record("g")
        assert theirs is not None and run(b, b.created_step(theirs, "p1")) == "ok"

    def test_an_attempt_that_is_over_takes_no_twins(self, a: Jobs, b: Jobs, lost: Record) -> None:
        """A search for it goes on in the process that lost it, while a twin looks for its own lost create."""
        theirs = b.record("g")
        assert theirs is not None and run(b, b.created_step(theirs, "p1")) == "ok"
        enqueue(b, "twin")
        twin = take(b, "twin")
        assert run(a, a.created_step(lost, "p2")) == "fenced"
        assert settle(b, theirs)
        assert run(a, a.created_step(lost, "p2")) == "fenced"
        assert run(b, b.created_step(twin, "p2")) == "ok"

    def test_where_the_record_is_lost_with_the_data_the_prediction_is_still_one_attempts(
        self, a: Jobs, redis: Redis
    ) -> None:
        for name in "gh":
            enqueue(a, name)
        first, second = take(a, "g"), take(a, "h")
        redis.flushall()
        assert [run(a, a.created_step(first, "p1")) for _ in range(2)] == ["gone", "gone"]
        assert run(a, a.created_step(second, "p1")) == "twin"
        assert a.record("g") is None, "no record is made of it"


class TestTake:
    def test_of_two_equal_messages_one_works(self, a: Jobs, b: Jobs) -> None:
        enqueue(a)
        assert [jobs.take("g", 1) is not None for jobs in (a, b, a)] == [True, False, False]

    def test_a_call_repeated_by_the_connection_takes_once(self, a: Jobs) -> None:
        enqueue(a)
        step = a._step("take", id="g", attempt=1, taker="t")
        *first, now = step.run(a.redis)
        *second, later = step.run(a.redis)
        assert first == second and int(now) <= int(later)

    @pytest.mark.parametrize("attempt", [1, 3])
    def test_a_message_of_another_attempt_steps_aside(self, a: Jobs, attempt: int) -> None:
        enqueue(a)
        first = take(a, "g")
        assert a.intend(first, "what was sent") == "ok"
        assert a.advance(first, "b/model", [FAILED], 0.25)
        assert a.take("g", attempt) is None
        record = take(a, "g", 2)
        assert (record.model, record.attempts, record.pause_seconds) == ("b/model", (FAILED,), 0.25)
        assert record.prediction_id is None and record.created_at is None and record.sent is None

    def test_what_is_over_or_unknown_is_nobodys(self, a: Jobs) -> None:
        enqueue(a)
        settle(a, take(a, "g"))
        assert a.take("g", 1) is None and a.take("never", 1) is None

    def test_one_that_is_to_be_canceled_says_so(self, a: Jobs) -> None:
        enqueue(a)
        a.ask_to_cancel("g")
        record = take(a, "g")
        assert record.canceling and a.to_cancel() == {"g"}
        assert settle(a, record, State.CANCELED) and a.to_cancel() == set()


class TestCancel:
    def test_a_wish_that_comes_too_late_cancels_nothing_that_is_made_under_the_same_id_later(
        self, redis: Redis, a: Jobs
    ) -> None:
        enqueue(a)
        assert settle(a, take(a, "g"))
        a.ask_to_cancel("g")
        redis.delete(f"{a.prefix}gen:g")  # as it expires
        enqueue(a)
        assert not take(a, "g").canceling


class TestVersions:
    """A fleet is brought to a new version one process after the other."""

    def test_a_record_of_a_later_version_is_left_to_a_newer_worker(self, redis: Redis, a: Jobs, b: Jobs) -> None:
        for name in ("later", "now"):
            enqueue(a, name)
        redis.hset(f"{a.prefix}gen:later", "v", "99")
        assert b.take("later", 1) is None
        assert [record.id for record in b.take_over("a")] == ["now"]
        assert a.custody() == {"later"}

    def test_nothing_of_a_batch_of_a_later_version_is_begun(self, redis: Redis, a: Jobs) -> None:
        batches = Batches(a)
        a.capacity = 1
        assert closed_batch(batches, "one", "g", "h") == ["g"]
        redis.hset(f"{a.prefix}batch:one", "v", "99")
        settled = a.settle(take(a, "g"), State.FAILED, result("g"))
        assert settled and settled.messages == [] and batches.state("one").pending == 1

    def test_one_that_cannot_be_read_keeps_no_other_from_being_taken_over(
        self, redis: Redis, a: Jobs, b: Jobs
    ) -> None:
        for name in ("broken", "whole"):
            enqueue(a, name)
        redis.hset(f"{a.prefix}gen:broken", "request", '{"shape": "unknown"}')
        assert [record.id for record in b.take_over("a")] == ["whole"]
        assert b.record("broken") is None


class TestSteps:
    def test_a_settle_repeated_by_the_connection_counts_once(self, a: Jobs) -> None:
        batches = Batches(a)
        closed_batch(batches, "one", "g", "h")
        record = take(a, "g")
        assert settle(a, record) and settle(a, record)
        assert (batches.state("one").succeeded, batches.state("one").cost_usd) == (1, 0.5)
        assert len(batches.finished("one")) == 1 and a.custody() == {"h"}

    def test_an_advance_repeated_by_the_connection_advances_once(self, a: Jobs, b: Jobs) -> None:
        enqueue(a)
        record = take(a, "g")
        assert all(a.advance(record, "b/model", [FAILED], 0.0) for _ in range(2))
        assert a.outcome("g")[:2] == ("publishing", 2)
        take(b, "g", 2)
        assert not a.advance(record, "b/model", [FAILED], 0.0)

    def test_the_same_id_is_the_same_job(self, a: Jobs, b: Jobs) -> None:
        enqueue(a)
        assert not b.enqueue("g", request("g"), {}, priority=3)
        assert a.custody() == {"g"} and b.custody() == set()


class TestDeath:
    def test_all_that_a_process_answered_for_is_taken_over_once(self, process: Process, a: Jobs) -> None:
        for number in range(500):
            enqueue(a, f"g{number}")
        found: list[str] = []
        for name in "bc":
            while records := process(name).take_over("a"):
                found += [record.id for record in records]
                if name == "b" and len(found) >= 200:
                    break
        assert sorted(found) == sorted(f"g{number}" for number in range(500))
        assert a.custody() == set()
        assert process("d").other_holders() == {"b", "c"}

    def test_what_one_that_ends_gives_back_the_next_takes_as_it_is(self, a: Jobs, b: Jobs) -> None:
        for name in ("publishing", "running", "created"):
            enqueue(a, name)
        take(a, "running")
        run(a, a.created_step(take(a, "created"), "p1"))
        assert a.give_back() == 3
        assert b.other_holders() == {""}
        records = {record.id: record for record in b.take_over("")}
        assert {name: (record.state, record.prediction_id) for name, record in records.items()} == {
            "publishing": ("publishing", None),
            "running": ("running", None),
            "created": ("running", "p1"),
        }
        assert b.other_holders() == set() and b.custody() == set(records)

    def test_what_is_put_back_to_the_queue_is_nobodys_until_a_task_takes_it(self, a: Jobs, b: Jobs) -> None:
        enqueue(a)
        run(a, a.created_step(take(a, "g"), "p1"))
        (record,) = b.take_over("a")
        message = b.requeue(record)
        assert message is not None and (message.id, message.attempt, message.priority) == ("g", 1, 0)
        b.published(["g"])
        assert b.custody() == set()
        assert take(a, "g").prediction_id == "p1"


class TestLostMessages:
    @pytest.fixture
    def queue(self, redis_url: str) -> Callable[[Jobs, str], None]:
        """Enqueues a generation, its message included."""
        app = make_app(load(), redis_url)

        def put(jobs: Jobs, name: str) -> None:
            enqueue(jobs, name)
            record = jobs.record(name)
            assert record is not None
            message = Message(name, record.attempt, record.model, record.priority)
            publish(app, jobs, [message])

        return put

    @staticmethod
    def pop(redis: Redis) -> None:
        """The oldest message, taken out by somebody who dies with it."""
        assert redis.rpop(queue_lists(load())[3])

    def test_one_that_is_older_than_the_oldest_in_its_list_is_published_again(
        self, redis: Redis, a: Jobs, b: Jobs, queue: Callable[[Jobs, str], None]
    ) -> None:
        queue(a, "lost")
        self.pop(redis)
        wait_for(lambda: age_ms(redis, a, "lost") > 1000 * GRACE_SECONDS)
        queue(a, "waits")
        assert [message.id for message in b.lost(queue_lists(load()), GRACE_SECONDS)] == ["lost"]
        assert b.custody() == {"lost"} and b.lost(queue_lists(load()), GRACE_SECONDS) == []

    def test_from_an_empty_list_only_after_the_grace(
        self, redis: Redis, a: Jobs, queue: Callable[[Jobs, str], None]
    ) -> None:
        queue(a, "lost")
        self.pop(redis)
        assert a.lost(queue_lists(load()), 60.0) == []
        wait_for(lambda: bool(a.lost(queue_lists(load()), GRACE_SECONDS)))

    def test_one_that_waits_or_works_is_not_lost(
        self, redis: Redis, a: Jobs, queue: Callable[[Jobs, str], None]
    ) -> None:
        for name in ("works", "waits"):
            queue(a, name)
        self.pop(redis)
        take(a, "works")
        wait_for(lambda: age_ms(redis, a, "waits") > 1000 * GRACE_SECONDS)
        assert a.lost(queue_lists(load()), GRACE_SECONDS) == []


def age_ms(redis: Redis, jobs: Jobs, name: str) -> float:
    """How long a generation has been recorded as queued."""
    seconds, microseconds = redis.time()
    return seconds * 1000 + microseconds / 1000 - (redis.zscore(f"{jobs.prefix}queued:3", name) or 0)
