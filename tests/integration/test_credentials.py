"""Whose token a worker has, among the account's other workers, on a real Redis."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from replibatch.errors import NotCreated, ReplibatchError, SettingsError, Stop, TokenRefused
from replibatch.execution import credentials
from replibatch.execution.credentials import Credentials
from replibatch.limits import Limiter
from replibatch.settings import load
from tests.support.sandbox_caller import wait_for

REFUSED, NO_CREDIT = "TokenRefused: no", "NoCredit: no"


class Api:
    """Answers the question for the account as it is told to."""

    answer: str | ReplibatchError = "me"

    def account(self) -> str:
        if isinstance(self.answer, ReplibatchError):
            raise self.answer
        return self.answer


class Worker:
    """A worker as far as its credentials go."""

    def __init__(self, redis: Redis, name: str) -> None:
        self.limiter = Limiter(redis, load(), name)
        self.report: dict[str, Any] = {"host": "here", "pid": 1}
        self.has_left = threading.Event()
        self.credentials = Credentials(self.limiter, self.report, self.has_left.set)
        self.api = Api()

    def check(self) -> bool:
        return self.credentials.check(self.api)  # type: ignore[arg-type]  # all of it that is asked

    def ask_later(self) -> None:
        self.credentials.ask_later(self.api)  # type: ignore[arg-type]

    def beat(self) -> None:
        self.limiter.heartbeat(self.report)

    @property
    def stopped(self) -> str | None:
        stop = self.limiter.status().stop
        return str(stop) if stop else None


@pytest.fixture
def start(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Worker]]:
    monkeypatch.setattr(credentials, "ASK_AGAIN_SECONDS", 0.01)
    workers: list[Worker] = []
    with Redis.from_url(redis_url, decode_responses=True) as redis:

        def one(name: str) -> Worker:
            workers.append(Worker(redis, name))
            return workers[-1]

        yield one
        for worker in workers:
            worker.credentials.stop()


def test_an_accepted_token_lifts_the_stop_of_a_refused_one_and_no_other(start) -> None:
    worker = start("a")
    assert worker.check()
    for stopped, left in ((REFUSED, None), (NO_CREDIT, NO_CREDIT)):
        worker.limiter.stop(Stop.parse(stopped))
        worker.credentials.lift_stop()
        assert worker.stopped == left


def test_an_operator_lifts_any_stop(start) -> None:
    worker = start("a")
    for stopped in (REFUSED, NO_CREDIT):
        worker.limiter.stop(Stop.parse(stopped))
        worker.limiter.resume()
        assert worker.stopped is None


def test_a_stop_for_credit_is_not_hidden_by_a_refused_token(start) -> None:
    worker = start("a")
    worker.limiter.stop(Stop.parse(NO_CREDIT))
    worker.limiter.stop(Stop.parse(REFUSED))
    worker.credentials.lift_stop()
    assert worker.stopped == NO_CREDIT


def test_who_gets_no_answer_asks_again_and_then_lifts_the_stop(start) -> None:
    worker = start("a")
    worker.limiter.stop(Stop.parse(REFUSED))
    worker.api.answer = NotCreated("away")
    assert not worker.check()
    worker.ask_later()
    assert worker.stopped == REFUSED
    worker.api.answer = "me"
    wait_for(lambda: worker.stopped is None)
    assert worker.report["username"] == "me" and not worker.has_left.is_set()


def test_who_learns_late_that_it_is_of_another_account_leaves(start) -> None:
    first, late = start("a"), start("b")
    assert first.check()
    late.api.answer = NotCreated("away")
    assert not late.check()
    late.ask_later()
    late.api.answer = "somebody else"
    assert late.has_left.wait(5)
    with pytest.raises(SettingsError, match="somebody else"):
        late.check()


def test_the_last_whose_token_is_refused_stops_the_account(start) -> None:
    first, second = start("a"), start("b")
    assert first.check() and second.check()
    first.credentials.refused(TokenRefused("no"))
    assert first.has_left.is_set() and first.stopped is None
    second.credentials.refused(TokenRefused("no"))
    assert second.has_left.is_set() and second.stopped == REFUSED


def test_one_that_has_had_no_answer_yet_is_there_all_the_same(start) -> None:
    first, unanswered = start("a"), start("b")
    unanswered.api.answer = NotCreated("away")
    assert first.check() and not unanswered.check()
    unanswered.beat()
    first.credentials.refused(TokenRefused("no"))
    assert first.has_left.is_set() and first.stopped is None
    first.limiter.heartbeat({}, leaving=True)
    unanswered.credentials.refused(TokenRefused("no"))
    assert unanswered.stopped == REFUSED


def test_nor_does_one_that_cannot_begin_stop_it(start) -> None:
    unanswered, refused = start("a"), start("b")
    unanswered.beat()
    refused.api.answer = TokenRefused("no")
    with pytest.raises(TokenRefused):
        refused.check()
    assert refused.stopped is None


def test_a_producer_is_no_worker(start) -> None:
    last, producer = start("a"), start("b")
    producer.limiter.heartbeat({"max_concurrent": 3})
    assert last.check()
    last.credentials.refused(TokenRefused("no"))
    assert last.stopped == REFUSED


def test_one_that_begins_while_the_last_stops_the_account_keeps_it_going(
    start, monkeypatch: pytest.MonkeyPatch
) -> None:
    last, fresh = start("a"), start("b")
    assert last.check()
    stop = last.limiter.stop

    def late(why: str) -> None:
        assert fresh.check()
        fresh.credentials.lift_stop()
        stop(why)

    monkeypatch.setattr(last.limiter, "stop", late)
    last.credentials.refused(TokenRefused("no"))
    assert last.has_left.is_set() and last.stopped is None
