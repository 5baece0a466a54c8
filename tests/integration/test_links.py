"""Linked tasks: owed from the settle on, until they have been called."""

from __future__ import annotations

import json

from replibatch.broker.app import make_app
from replibatch.broker.publish import call_linked
from replibatch.jobs import Call, Jobs, Link
from replibatch.requests import BatchResult, RoutedRequest, State
from replibatch.settings import load

MODEL = "a/model"
LINK = Link("app.done")
REQUEST = RoutedRequest("r", "ein Igel", MODEL, MODEL, {}, (), "r.png")
RESULT = BatchResult("r", "ein Igel, naß", MODEL, MODEL, True, cost_usd=0.5)


def enqueue(jobs: Jobs, name: str, link: Link | None) -> bool:
    return jobs.enqueue(name, REQUEST, {}, priority=3, link=link)


def settle(jobs: Jobs, name: str) -> list[Call]:
    record = jobs.take(name, 1)
    assert record is not None
    settled = jobs.settle(record, State.SUCCEEDED, RESULT)
    assert settled
    return settled.calls


def test_a_call_is_owed_until_it_is_noted_as_made(jobs: Jobs) -> None:
    enqueue(jobs, "a", LINK)
    assert jobs.owed(0) == []
    (call,) = settle(jobs, "a")
    assert (call.id, call.task_id, call.link) == ("a", "a-link", LINK)
    assert BatchResult.from_json(call.result) == RESULT
    assert jobs.owed(60) == []  # whoever settled it is about to
    assert jobs.owed(0) == [call]
    jobs.called(call)
    assert jobs.owed(0) == []


def test_what_one_has_set_out_to_publish_another_leaves_alone(jobs: Jobs) -> None:
    enqueue(jobs, "a", LINK)
    (call,) = settle(jobs, "a")
    jobs.redis.zadd(f"{jobs.prefix}calls", {call.owed: 1.0})  # long ago
    assert jobs.owed(60) == [call]
    assert jobs.owed(60) == []


def test_without_a_link_nothing_is_owed(jobs: Jobs) -> None:
    enqueue(jobs, "a", None)
    assert settle(jobs, "a") == [] == jobs.owed(0)


def test_the_same_job_calls_the_first_task_that_is_named_once(jobs: Jobs) -> None:
    enqueue(jobs, "a", None)
    enqueue(jobs, "a", LINK)
    enqueue(jobs, "a", Link("app.other"))
    assert [call.link for call in settle(jobs, "a")] == [LINK]
    assert len(jobs.owed(0)) == 1
    enqueue(jobs, "a", LINK)
    assert len(jobs.owed(0)) == 1


def test_a_link_named_when_the_job_is_over_is_called_too(jobs: Jobs) -> None:
    enqueue(jobs, "a", None)
    settle(jobs, "a")
    enqueue(jobs, "a", LINK)
    (call,) = jobs.owed(60)
    assert call.link == LINK and BatchResult.from_json(call.result) == RESULT


def test_the_application_finds_it_in_its_own_queue_and_a_worker_of_ours_does_not_listen_there(
    jobs: Jobs, redis_url: str
) -> None:
    enqueue(jobs, "a", Link("app.done", "mine"))
    app = make_app(load(), redis_url)
    call_linked(app, jobs, settle(jobs, "a"))
    assert jobs.owed(0) == []
    message = json.loads(jobs.redis.lindex("mine", 0))
    headers = message["headers"]
    assert (headers["task"], headers["id"], headers["parent_id"]) == ("app.done", "a-link", "a")
    assert list(app.amqp.queues.consume_from) == [app.conf.task_default_queue]
    app.close()
