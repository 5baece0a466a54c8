"""Canceling a generation in any state, for its owner, or for Flower's or Celery's Revoke."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from replibatch.broker.publish import call_linked, publish
from replibatch.broker.results import ResultBackend
from replibatch.errors import PredictionCanceled
from replibatch.jobs import Jobs, Record
from replibatch.requests import Attempt, State

if TYPE_CHECKING:
    from celery import Celery


def cancel(app: Celery, jobs: Jobs, generation_id: str) -> bool:
    """Cancel a generation; False where it is over, or unknown.

    One that runs is canceled at Replicate by the process that has it, within a few seconds.

    Args:
        app: of the account's queue.
        jobs: this process's.
        generation_id: which.
    """
    state, attempt, result = jobs.outcome(generation_id)
    if not state or result:
        return False
    jobs.ask_to_cancel(generation_id)
    if record := jobs.take(generation_id, attempt):
        canceled = record.request.unmade(State.CANCELED, "canceled", _attempts(record))
        if settled := jobs.settle(record, State.CANCELED, canceled, ResultBackend(app).canceled(generation_id)):
            publish(app, jobs, settled.messages)
            call_linked(app, jobs, settled.calls)
        _tell_flower(app, generation_id)
    return True


def _attempts(record: Record) -> tuple[Attempt, ...]:
    """All attempts, including one with an ended prediction and an output that is not saved yet."""
    if not record.prediction_id:
        return record.attempts
    began = record.created_at or time.monotonic()
    unsaved = Attempt(
        model=record.model,
        prediction_id=record.prediction_id,
        outcome="failed",
        reason=PredictionCanceled.reason,
        message="canceled by its owner",
        seconds=round(time.monotonic() - began, 3),
        cost_usd=record.paid_usd,
    )
    return (*record.attempts, unsaved)


def _tell_flower(app: Celery, generation_id: str) -> None:
    """No task will run for it, so this process sends the event of its end."""
    with app.events.default_dispatcher() as events:
        events.send("task-revoked", uuid=generation_id, terminated=False, signum=None, expired=False)
