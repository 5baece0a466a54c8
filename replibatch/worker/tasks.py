"""The one task: a message wakes one attempt of one generation. Thin: `replibatch.execution` does the work."""

from __future__ import annotations

import logging
import threading
from typing import Any

import structlog
from celery import signals, states
from celery.app.task import Task
from celery.exceptions import Ignore, Retry
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from replibatch import logs
from replibatch.broker.publish import TASK, call_linked, celery_state, options, publish
from replibatch.errors import ReplibatchError
from replibatch.execution import Done, Left, Next, generate, metrics
from replibatch.jobs import Notice, Record
from replibatch.redisdb.scripts import Step, run_together
from replibatch.requests import BatchResult, State
from replibatch.worker import lifecycle
from replibatch.worker.app import app

log = structlog.get_logger(__name__)

IN_BRIEF = ("request_id", "success", "model_used", "file_paths", "cost_usd")

_epilogues: dict[str, Step] = {}  # by task id: what must wait until Celery has written the task's state


@app.task(name=TASK, bind=True, throws=(ReplibatchError,))
def generate_one(task: Task, generation_id: str, attempt: int) -> dict[str, Any]:
    """Make one attempt of a generation; a failed one replaces itself with the next, under the same id."""
    try:
        return _attempt(task, generation_id, attempt)
    except (RedisError, OperationalError) as error:  # the takeover thread brings it back, once Redis is
        raise Retry("redis is away", exc=ReplibatchError(str(error))) from error


def _attempt(task: Task, generation_id: str, attempt: int) -> dict[str, Any]:
    context = lifecycle.context()
    outcome = generate(
        context,
        generation_id,
        attempt,
        started=celery_state(app, generation_id, states.STARTED, None, task.request),
        notice_of=lambda record, result: _notice_of(task, record, result),
    )
    if isinstance(outcome, Done):
        metrics.count(outcome.result)
        publish(app, context.jobs, outcome.settled.messages)
        call_linked(app, context.jobs, outcome.settled.calls)
        if outcome.result.success:
            return outcome.result.to_json()  # for the event: Celery has been told what it keeps
        if outcome.result.state == State.CANCELED:
            task.send_event("task-revoked", terminated=True, signum=None, expired=False)
            raise Ignore  # its state is written
        raise ReplibatchError(outcome.result.error)
    if isinstance(outcome, Next):
        failed = f"{outcome.failure.reason}: {outcome.failure}; next: {outcome.message.model}"
        task.send_event("task-retried", exception=failed)
        following = task.s(generation_id, outcome.message.attempt).set(**options(outcome.message))
        try:
            task.replace(following)
        except Ignore:
            context.jobs.published([generation_id])
            raise
    if isinstance(outcome, Left):
        if outcome.epilogue:
            _epilogues[task.request.id] = outcome.epilogue
        raise Retry(outcome.why, exc=ReplibatchError(outcome.why))
    raise Ignore  # somebody else's, or over: no state is written


def _notice_of(task: Task, record: Record, result: BatchResult) -> Notice:
    """A batch's results are read as the batch's: Celery is told no more of each than its outcome."""
    request = None if record.batch else task.request
    if not result.success:
        return celery_state(app, record.id, states.FAILURE, ReplibatchError(result.error), request)
    told = result.to_json()
    if record.batch:
        told = {name: told[name] for name in IN_BRIEF}
    return celery_state(app, record.id, states.SUCCESS, told, request)


def _run_epilogue(task_id: str, **_: Any) -> None:
    if step := _epilogues.pop(task_id, None):
        run_together(lifecycle.context().redis, step)


def _open(**_: Any) -> None:
    if not structlog.is_configured():  # started by Celery's own command
        logs.configure("lines", level=logging.INFO, others=logging.WARNING)
    lifecycle.open_shop()


def _keep_logging(loglevel: int, **_: Any) -> None:
    """Celery's lines go where ours go; how many of them, its own option says."""
    logging.getLogger().setLevel(loglevel)


def _drain(**_: Any) -> None:
    # Called from a signal handler: locks may be held by the very thread it interrupted.
    threading.Thread(target=lifecycle.drain, name="drain", daemon=True).start()


def _close(**_: Any) -> None:
    lifecycle.close_shop()


signals.task_postrun.connect(_run_epilogue)
signals.setup_logging.connect(_keep_logging)
signals.worker_init.connect(_open)
signals.worker_shutting_down.connect(_drain)
signals.worker_shutdown.connect(_close)
