"""The application's own Celery task that is to be called with a result: given as a name, a task, or a signature."""

from __future__ import annotations

import json
from typing import Any

from replibatch.errors import RequestError
from replibatch.jobs import Link
from replibatch.jobs.links import APPLICATION_QUEUE

EXPECTED = "a name, as in 'app.task', a Celery task, or its signature"


def link_of(given: Any, queue: str | None) -> Link | None:
    """The link that a caller means.

    Args:
        given: a name, a task, a signature, or None.
        queue: where the application's workers listen; None for the task's own, or Celery's default.

    Raises:
        RequestError: it is none of these, or a signature has arguments that are no JSON.
    """
    if queue is not None and not _is_name(queue):
        raise RequestError(f"link_queue is {queue!r}; expected: a queue's name")
    if given is None:
        return None
    if isinstance(given, str):
        if not _is_name(given):
            raise RequestError(f"link is {given!r}; expected: {EXPECTED}")
        return Link(given, queue or APPLICATION_QUEUE)
    if isinstance(given, dict) and isinstance(given.get("task"), str):  # a signature is a dict
        return _of_signature(given, queue)
    if _is_name(getattr(given, "name", None)) and hasattr(given, "apply_async"):
        return Link(given.name, queue or _queue_of(given))
    raise RequestError(f"link is {given!r}; expected: {EXPECTED}")


def _of_signature(signature: Any, queue: str | None) -> Link:
    args, kwargs = tuple(signature.get("args") or ()), dict(signature.get("kwargs") or {})
    options = signature.get("options") or {}
    if signature.get("subtask_type"):
        raise RequestError(f"link is a {signature['subtask_type']}; expected: {EXPECTED}")
    try:
        json.dumps([args, kwargs], allow_nan=False)
    except (TypeError, ValueError):
        raise RequestError(f"link has the arguments {args!r}, {kwargs!r}; expected: JSON") from None
    wanted = queue or options.get("queue")
    if wanted is not None and not isinstance(wanted, str):
        wanted = wanted.name
    if wanted is None:
        own = getattr(signature, "type", None) if getattr(signature, "_app", None) is not None else None
        wanted = _queue_of(own) if own is not None else APPLICATION_QUEUE
    return Link(signature["task"], str(wanted), args, kwargs, bool(signature.get("immutable")))


def _queue_of(task: Any) -> str:
    """Where a task's own application sends it."""
    own = getattr(task, "queue", None)
    if own:
        return str(own)
    app = getattr(task, "app", None)
    return str(app.conf.task_default_queue) if app is not None else APPLICATION_QUEUE


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
