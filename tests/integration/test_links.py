"""Linked tasks: owed from the settle on, until they have been called."""

from __future__ import annotations

import json

from replibatch.broker.app import make_app
from replibatch.broker.publish import call_linked
from replibatch.jobs import Call, Ledger, Link
from replibatch.requests import BatchResult, RoutedRequest, State
from replibatch.settings import load

MODEL = "a/model"
LINK = Link("app.done")
REQUEST = RoutedRequest("r", "ein Igel", MODEL, MODEL, {}, (), "r.png")
RESULT = BatchResult("r", "ein Igel, naß", MODEL, MODEL, True, cost_usd=0.5)


def enqueue(ledger: Ledger, name: str, link: Link | None) -> bool:
    return ledger.enqueue(name, REQUEST, {}, priority=3, link=link)


def settle(ledger: Ledger, name: str) -> list[Call]:
    record = ledger.take(name, 1)
    assert record is not None
    settled = ledger.settle(record, State.SUCCEEDED, RESULT)
    assert settled
    return settled.calls


def test_a_call_is_owed_until_it_is_noted_as_made(ledger: Ledger) -> None:
    enqueue(ledger, "a", LINK)
    assert ledger.owed(0) == []
    (call,) = settle(ledger, "a")
    assert (call.id, call.task_id, call.link) == ("a", "a-link", LINK)
    assert BatchResult.from_json(call.result) == RESULT
    assert ledger.owed(60) == []  # whoever settled it is about to
    assert ledger.owed(0) == [call]
    ledger.called(call)
    assert ledger.owed(0) == []


def test_what_one_has_set_out_to_publish_another_leaves_alone(ledger: Ledger) -> None:
    enqueue(ledger, "a", LINK)
    (call,) = settle(ledger, "a")
    ledger.redis.zadd(f"{ledger.prefix}calls", {call.owed: 1.0})  # long ago
    assert ledger.owed(60) == [call]
    assert ledger.owed(60) == []


def test_without_a_link_nothing_is_owed(ledger: Ledger) -> None:
    enqueue(ledger, "a", None)
    assert settle(ledger, "a") == [] == ledger.owed(0)


def test_the_same_job_calls_the_first_task_that_is_named_once(ledger: Ledger) -> None:
    enqueue(ledger, "a", None)
    enqueue(ledger, "a", LINK)
    enqueue(ledger, "a", Link("app.other"))
    assert [call.link for call in settle(ledger, "a")] == [LINK]
    assert len(ledger.owed(0)) == 1
    enqueue(ledger, "a", LINK)
    assert len(ledger.owed(0)) == 1


def test_a_link_named_when_the_job_is_over_is_called_too(ledger: Ledger) -> None:
    enqueue(ledger, "a", None)
    settle(ledger, "a")
    enqueue(ledger, "a", LINK)
    (call,) = ledger.owed(60)
    assert call.link == LINK and BatchResult.from_json(call.result) == RESULT


def test_the_application_finds_it_in_its_own_queue_and_a_worker_of_ours_does_not_listen_there(
    ledger: Ledger, redis_url: str
) -> None:
    enqueue(ledger, "a", Link("app.done", "mine"))
    app = make_app(load(), redis_url)
    call_linked(app, ledger, settle(ledger, "a"))
    assert ledger.owed(0) == []
    message = json.loads(ledger.redis.lindex("mine", 0))
    headers = message["headers"]
    assert (headers["task"], headers["id"], headers["parent_id"]) == ("app.done", "a-link", "a")
    assert list(app.amqp.queues.consume_from) == [app.conf.task_default_queue]
    app.close()
