"""Webhooks: owed from the settle on, signed, delivered at least once, and to no private address."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from replibatch import WebhookRefused, verify_webhook
from replibatch.errors import SettingsError
from replibatch.execution.webhooks import WebhookDelivery
from replibatch.jobs import Jobs
from replibatch.jobs.record import Record
from replibatch.jobs.webhooks import GIVE_UP_SECONDS, OwedWebhooks, Webhook
from replibatch.redisdb.scripts import run_together
from replibatch.requests import Attempt, BatchResult, RoutedRequest, State
from replibatch.sandbox.webhooks import signature
from replibatch.settings import load
from replibatch.webhooks import sign
from tests.support.receiver import Receiver, receiving
from tests.support.waiting import until

SECRET = "whsec_" + "c2l4dGVlbiBieXRlcyBhbmQgbW9yZQ=="
MODEL = "a/model"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def owed(jobs: Jobs) -> OwedWebhooks:
    return OwedWebhooks(jobs.redis, jobs.prefix)


def settled(jobs: Jobs, url: str, name: str = "a") -> None:
    request = RoutedRequest(name, "ein Igel", MODEL, MODEL, {}, (), "r.png", webhook=url)
    jobs.enqueue(name, request, {}, priority=3)
    record = jobs.take(name, 1)
    assert record is not None
    result = BatchResult(name, "ein Igel, naß", MODEL, MODEL, True, cost_usd=0.5)
    for _ in range(2):  # a repeated call owes no second one
        assert jobs.settle(record, State.SUCCEEDED, result)


@pytest.fixture
def delivery(jobs: Jobs) -> Iterator[WebhookDelivery]:
    running = WebhookDelivery(jobs, load(webhook_secret=SECRET, webhook_private=True))
    running.start()
    yield running
    running.stop()


def test_it_is_delivered_once_and_signed(
    jobs: Jobs, owed: OwedWebhooks, receiver: Receiver, delivery: WebhookDelivery
) -> None:
    settled(jobs, receiver.url)
    until(lambda: receiver.taken and not jobs.redis.zcard(f"{jobs.prefix}webhooks"), what="it is delivered")
    ((headers, body),) = receiver.taken
    assert verify_webhook(body, headers, SECRET) == headers["webhook-id"]
    content = json.loads(body)
    assert content["job_id"] == "a" and content["prompt"] == "ein Igel, naß"
    stamp = int(headers["webhook-timestamp"])
    assert headers["webhook-signature"] == signature(SECRET, headers["webhook-id"], stamp, body), (
        "as the stand-in signs"
    )
    with pytest.raises(WebhookRefused, match="signature does not match"):
        verify_webhook(body + b" ", headers, SECRET)
    with pytest.raises(WebhookRefused, match="expected: within 300 s"):
        old = {**headers, "webhook-timestamp": str(stamp - 900)}
        verify_webhook(body, old | {"webhook-signature": sign(SECRET, "x", stamp - 900, body)}, SECRET)


def test_one_that_is_not_taken_is_tried_again_with_the_same_id(
    jobs: Jobs, owed: OwedWebhooks, receiver: Receiver, delivery: WebhookDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replibatch.jobs.webhooks.FIRST_PAUSE_SECONDS", 0.05)
    receiver.answers = [500, 302, 503]
    settled(jobs, receiver.url)
    until(lambda: len(receiver.taken) == 4 and not owed.failing(), what="the fourth is taken")
    assert len({headers["webhook-id"] for headers, _ in receiver.taken}) == 1


def test_one_that_fails_is_shown_and_given_up_after_a_day(jobs: Jobs, owed: OwedWebhooks) -> None:
    settled(jobs, "http://127.0.0.1:9/")
    (claimed,) = owed.claim(5)
    assert owed.claim(5) == [], "while one delivers it, no other does"
    owed.failed(claimed, "it answered 500")
    (failing,) = owed.failing()
    assert (failing.id, failing.tries, failing.error) == (claimed.id, 1, "it answered 500")
    old = Webhook(claimed.id, "a", claimed.url, time.time() - GIVE_UP_SECONDS, 20)
    owed.failed(old, "still")
    assert owed.lost()[0].error == "still" and len(owed.failing()) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://[::1]:{port}/"])
def test_addresses_of_private_networks_are_refused(
    jobs: Jobs, owed: OwedWebhooks, receiver: Receiver, url: str
) -> None:
    delivery = WebhookDelivery(jobs, load(webhook_secret=SECRET))
    delivery.start()
    settled(jobs, url.format(port=receiver.url.rpartition(":")[2].partition("/")[0]))
    until(owed.lost, what="it is given up")
    delivery.stop()
    assert "expected:" in owed.lost()[0].error and receiver.taken == []


def started(jobs: Jobs) -> Record:
    request = RoutedRequest("a", "ein Igel", MODEL, MODEL, {}, (), "r.png", webhook_start="http://127.0.0.1:9/")
    jobs.enqueue("a", request, {}, priority=3)
    record = jobs.take("a", 1)
    assert record is not None
    return record


def test_a_start_is_owed_once_with_the_first_prediction(jobs: Jobs, owed: OwedWebhooks) -> None:
    record = started(jobs)
    assert owed.claim(5) == []
    for _ in range(2):  # a repeated call owes no second one
        assert run_together(jobs.redis, jobs.created_step(record, "p1")) == ["ok"]
    (claimed,) = owed.claim(5)
    assert (claimed.id, claimed.job, claimed.is_start) == ("msg_a-start", "a", True)
    owed.delivered(claimed)
    assert run_together(jobs.redis, jobs.created_step(record, "p1")) == ["ok"] and owed.claim(5) == []
    before = Attempt(MODEL, "p1", "failed", "refused", "no", 1.0, 0.0)
    jobs.advance(record, MODEL, [before], 0)
    second = jobs.take("a", 2)
    assert second is not None and run_together(jobs.redis, jobs.created_step(second, "p2")) == ["ok"]
    assert jobs.redis.zcard(f"{jobs.prefix}webhooks") == 0, "the second attempt is no second start"
    assert jobs.settle(second, State.FAILED, second.request.unmade(State.FAILED, "no", (before,)))
    assert jobs.redis.zcard(f"{jobs.prefix}webhooks") == 0, "a start alone was asked for"


def test_a_start_that_an_older_copy_lacks_is_owed_again(jobs: Jobs, owed: OwedWebhooks) -> None:
    record = started(jobs)
    older = jobs.redis.dump(f"{jobs.prefix}gen:a")
    assert run_together(jobs.redis, jobs.created_step(record, "p1")) == ["ok"]
    jobs.redis.delete(f"{jobs.prefix}webhooks")
    jobs.redis.restore(f"{jobs.prefix}gen:a", 0, older, replace=True)
    assert jobs.recall() == 1 and jobs.recall() == 0
    assert [each.id for each in owed.claim(5)] == ["msg_a-start"]


def test_a_secret_that_is_none_is_refused_and_not_shown() -> None:
    with pytest.raises(SettingsError, match=r"REPLIBATCH_WEBHOOK_SECRET|webhook_secret") as refused:
        load(webhook_secret="hunter2")
    assert "hunter2" not in str(refused.value)
