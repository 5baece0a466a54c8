"""The takeover thread on a real Redis: whatever one generation is like, the others are looked after."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from replibatch.broker.app import make_app
from replibatch.broker.cancellation import cancel
from replibatch.broker.publish import SINGLE
from replibatch.broker.results import ResultBackend
from replibatch.catalog import load as load_catalog
from replibatch.execution.context import Running, WorkerContext
from replibatch.execution.echoes import fingerprint
from replibatch.execution.reconcile import Lost, Reconciler
from replibatch.execution.takeover import Takeover
from replibatch.jobs import Jobs, Record
from replibatch.limits import Limiter, Standing, Ticket
from replibatch.limits.outages import Fault, of_model
from replibatch.redisdb.scripts import run_together
from replibatch.replicate_api import Prediction
from replibatch.requests import RoutedRequest, State
from replibatch.settings import Settings, load
from tests.support.catalogue import FLUX
from tests.support.sandbox_caller import Caller, wait_for

SECONDS = 30.0


@pytest.fixture
def settings(call: Caller, redis_url: str) -> Settings:
    return load(
        replicate_api_token="r8_of_the_tests",
        replicate_base_url=call.sandbox.url,
        redis_url=redis_url,
        global_max_concurrent=1,
        lease_seconds=1,
    )


@pytest.fixture
def context(settings: Settings, redis_url: str) -> Iterator[WorkerContext]:
    app = make_app(settings, redis_url)
    context = WorkerContext(settings, redis_url, ResultBackend(app), embedded=False, report={}, leave=lambda: None)
    context.start()
    takeover = Takeover(context, app)
    takeover.start()
    yield context
    takeover.stop()
    context.drain()
    context.stop()


@pytest.fixture
def leave_behind(settings: Settings, redis_url: str) -> Iterator[Callable[..., Record]]:
    """Has a process die that had begun with a generation."""
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        dead = Jobs(redis, settings, "dead/1/process")
        models = {name: model.to_json() for name, model in load_catalog(None).subset(FLUX).items()}

        def one(name: str, catalog: dict[str, object] = models, prediction: str = "") -> Record:
            request = RoutedRequest(name, "a fox", FLUX, FLUX, {}, (), f"{name}.png")
            assert dead.enqueue(name, request, catalog, priority=SINGLE)
            record = dead.take(name, 1)
            assert record is not None
            if prediction:
                assert run_together(redis, dead.created_step(record, prediction)) == ["ok"]
            return record

        yield one


def test_one_that_cannot_be_looked_after_keeps_no_other_waiting(context: WorkerContext, leave_behind) -> None:
    leave_behind("broken", {})  # without its model
    for number in range(5):
        leave_behind(f"whole-{number}")
    wait_for(lambda: all(context.jobs.outcome(f"whole-{number}")[0] == "queued" for number in range(5)), SECONDS)
    leave_behind("later")
    wait_for(lambda: context.jobs.outcome("later")[0] == "queued", SECONDS)


def test_one_that_cannot_be_read_keeps_no_other_waiting(context: WorkerContext, leave_behind) -> None:
    broken = leave_behind("broken")
    context.redis.hset(f"{context.jobs.prefix}gen:{broken.id}", "request", '{"shape": "unknown"}')
    wait_for(lambda: "broken" in context.jobs.custody(), SECONDS)
    leave_behind("later")
    wait_for(lambda: context.jobs.outcome("later")[0] == "queued", SECONDS)


def test_a_duty_that_fails_keeps_no_other_from_being_done(
    context: WorkerContext, leave_behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ResponseError("ERR Error running script")

    for duty in ("lost", "owed", "to_cancel"):
        monkeypatch.setattr(context.jobs, duty, fails)
    leave_behind("one")
    wait_for(lambda: context.jobs.outcome("one")[0] == "queued", SECONDS)


def test_who_waits_at_the_limiter_is_canceled_without_a_slot(context: WorkerContext, leave_behind) -> None:
    leave_behind("waits")
    wait_for(lambda: context.jobs.outcome("waits")[0] == "queued", SECONDS)
    assert context.waiting_room.acquire(Ticket("holder:1", 1, 0.0)) == Standing.CLAIMED
    record = context.jobs.take("waits", 1)
    assert record is not None
    running = Running(record.attempt_key)
    context.begin("waits", running)
    standings: list[Standing] = []
    thread = threading.Thread(
        target=lambda: standings.append(context.waiting_room.acquire(Ticket(record.attempt_key, record.fence, 0.0)))
    )
    thread.start()
    context.jobs.ask_to_cancel("waits")
    thread.join(SECONDS)
    assert standings == [Standing.WITHDRAWN] and running.canceled
    context.end("waits", running)


def test_a_cancel_that_replicate_is_slow_to_answer_holds_up_no_takeover(
    context: WorkerContext, call: Caller, leave_behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    call.sandbox.settings.latency_seconds = 600.0
    cancel_there, asked, answer_now = context.api.cancel, threading.Event(), threading.Event()

    def slow(prediction_id: str) -> Prediction | None:
        asked.set()
        assert answer_now.wait(2 * SECONDS)
        return cancel_there(prediction_id)

    monkeypatch.setattr(context.api, "cancel", slow)
    leave_behind("canceled", prediction=call.create("a fox")["id"])
    wait_for(lambda: "canceled" in context.jobs.custody(), SECONDS)
    context.jobs.ask_to_cancel("canceled")
    assert asked.wait(SECONDS)
    leave_behind("later")
    wait_for(lambda: context.jobs.outcome("later")[0] == "queued", SECONDS)
    assert call.sandbox.books.cancels == 0
    answer_now.set()
    wait_for(lambda: context.jobs.outcome("canceled")[0] == "queued", SECONDS)
    assert call.sandbox.books.cancels == 1


def test_a_worker_whose_clock_is_ahead_cancels_nothing_of_what_it_takes_over(
    context: WorkerContext, call: Caller, leave_behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    call.sandbox.settings.latency_seconds = 600.0
    wall, rounds, cancel_overdue = time.time, [], Takeover._cancel_overdue

    def noted(takeover: Takeover) -> None:
        takeover._overdue_at = 0.0
        cancel_overdue(takeover)
        rounds.append(set(takeover._looked_after))

    monkeypatch.setattr(time, "time", lambda: wall() + 86_400)
    monkeypatch.setattr(Takeover, "_cancel_overdue", noted)
    leave_behind("one", prediction=call.create("a fox")["id"])
    wait_for(lambda: rounds[-3:] == [{"one"}] * 3, SECONDS)
    assert call.sandbox.books.cancels == 0


def test_what_is_canceled_before_its_paid_output_is_saved_has_what_it_cost(
    context: WorkerContext, settings: Settings, redis_url: str, call: Caller, leave_behind
) -> None:
    prediction_id = call.create("a fox")["id"]
    leave_behind("paid", prediction=prediction_id)
    wait_for(lambda: context.jobs.outcome("paid")[0] == "queued", SECONDS)
    assert cancel(make_app(settings, redis_url), context.jobs, "paid")
    state, _, result = context.jobs.outcome("paid")
    assert state == State.CANCELED and result is not None
    price_usd = load_catalog(None).subset(FLUX)[FLUX].cost_usd({"prompt": "a fox"})
    (attempt,) = result.attempts
    assert (attempt.prediction_id, attempt.reason) == (prediction_id, "canceled")
    assert result.cost_usd == attempt.cost_usd == price_usd > 0


def test_a_lost_create_whose_record_is_lost_too_has_its_slot_until_it_is_over(
    settings: Settings,
    redis_url: str,
    call: Caller,
    leave_behind,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    call.sandbox.settings.latency_seconds = 600.0
    searched = threading.Event()
    submit = Reconciler.submit

    def noted(reconciler: Reconciler, lost: Lost, tell: Callable[[], object]) -> None:
        submit(reconciler, lost, tell)
        searched.set()

    monkeypatch.setattr(Reconciler, "submit", noted)
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        dead = Limiter(redis, settings, "dead/1/process")
        dead.heartbeat({})
        dead.rebuild([])
        record = leave_behind("lost")
        jobs = Jobs(redis, settings, "dead/1/process")
        assert jobs.intend(record, fingerprint(FLUX, {"prompt": "a fox"})) == "ok"

        def is_claimed() -> bool:
            dead.heartbeat({})
            return dead.acquire(Ticket(record.attempt_key, record.fence, 0.0))[0] == Standing.CLAIMED

        wait_for(is_claimed, SECONDS)
        context = request.getfixturevalue("context")  # not before: it would take over what is not ready yet
        assert searched.wait(SECONDS)
        redis.flushall()
        prediction = call.create("a fox")
        key = f"{context.limiter.prefix}tickets"
        wait_for(lambda: prediction["id"] in (redis.hget(key, record.attempt_key) or ""), SECONDS)
        call.http.post(f"/v1/predictions/{prediction['id']}/cancel").raise_for_status()
        # Long before the search for it would give up, and take it for not created.
        wait_for(lambda: not redis.exists(f"{context.limiter.prefix}slots"), settings.settle_seconds / 3)


def test_the_success_of_a_prediction_that_was_taken_over_ends_its_model_s_outage(
    context: WorkerContext, call: Caller, settings: Settings, leave_behind
) -> None:
    prediction = call.create("a fox")["id"]
    record = leave_behind("probe", prediction=prediction)
    dead = Limiter(context.redis, settings, "dead/1/process")
    dead.heartbeat({})
    dead.report_fault(Fault(of_model(FLUX), "failed", "no", pause_seconds=0.001))
    ticket = Ticket(record.attempt_key, record.fence, 0.0, model=FLUX)
    wait_for(lambda: dead.acquire(ticket)[0] == Standing.CLAIMED, SECONDS)
    run_together(context.redis, dead.created_step(ticket, prediction))
    assert [outage.name for outage in dead.status().outages] == [of_model(FLUX)]
    wait_for(lambda: dead.status().outages == (), SECONDS)
