"""The one task: a message wakes one attempt of one generation. Thin: `replibatch.execution` does the work."""

from __future__ import annotations

import logging
import threading
from typing import Any

import structlog
from celery import signals
from celery.app.task import Task
from celery.exceptions import Ignore, Retry
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from replibatch import logs
from replibatch.broker.publish import TASK, call_linked, options, publish
from replibatch.errors import ReplibatchError
from replibatch.execution import Done, Left, Next, generate, metrics
from replibatch.redisdb.scripts import Step, run_together
from replibatch.requests import State
from replibatch.worker import lifecycle
from replibatch.worker.app import app

log = structlog.get_logger(__name__)

_epilogues: dict[str, Step] = {}  # by task id: steps that wait until Celery has written the task's state


@app.task(name=TASK, bind=True, throws=(ReplibatchError,))
def generate_one(task: Task, generation_id: str, attempt: int) -> dict[str, Any]:
    """Make one attempt of a generation; a failed one replaces itself with the next, under the same id."""
    try:
        return _attempt(task, generation_id, attempt)
    except (RedisError, OperationalError) as error:  # the takeover thread brings it back, once Redis is
        raise Retry("redis is away", exc=ReplibatchError(str(error))) from error


def _attempt(task: Task, generation_id: str, attempt: int) -> dict[str, Any]:
    context = lifecycle.context()
    outcome = generate(context, generation_id, attempt)
    if isinstance(outcome, Done):
        metrics.count(outcome.result)
        publish(app, context.jobs, outcome.settled.messages)
        call_linked(app, context.jobs, outcome.settled.calls)
        if outcome.result.success:
            return outcome.result.to_json()  # for the event alone: the records wrote Celery's result
        if outcome.result.state == State.CANCELED:
            task.send_event("task-revoked", terminated=True, signum=None, expired=False)
            raise Ignore  # its state is written
        raise ReplibatchError(outcome.result.error)
    if isinstance(outcome, Next):
        task.send_event("task-retried", exception=f"{outcome.why}; next: {outcome.message.model}")
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
    raise Ignore  # another process's, or over: no state is written


def _run_epilogue(task_id: str, **_: Any) -> None:
    if step := _epilogues.pop(task_id, None):
        run_together(lifecycle.context().redis, step)


def _open(**_: Any) -> None:
    if not structlog.is_configured():  # started by Celery's own command
        logs.configure("lines", level=logging.INFO, others=logging.WARNING)
    lifecycle.open_worker()


def _keep_logging(loglevel: int, **_: Any) -> None:
    """Celery's lines go where ours go, at the level of its own option."""
    logging.getLogger().setLevel(loglevel)


def _drain(**_: Any) -> None:
    # Called from a signal handler: locks may be held by the very thread it interrupted.
    threading.Thread(target=lifecycle.drain, name="drain", daemon=True).start()


def _close(**_: Any) -> None:
    lifecycle.close_worker()


signals.task_postrun.connect(_run_epilogue)
signals.setup_logging.connect(_keep_logging)
signals.worker_init.connect(_open)
signals.worker_shutting_down.connect(_drain)
signals.worker_shutdown.connect(_close)
