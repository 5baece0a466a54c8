"""Celery's remote commands, as this worker takes them: Revoke and Terminate cancel, Shutdown hands over.

Celery's own `revoke` would have each worker throw the generation's messages away for hours, also of later
attempts, and leave its prediction running; its `shutdown` would wait for every generation to end.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import structlog
from celery.worker.control import control_command, inspect_command

from replibatch.broker.cancellation import cancel
from replibatch.worker import lifecycle
from replibatch.worker.app import app

# Each would leave a worker that answers, and works on nothing, or on messages of others.
REFUSED = (
    *("add_consumer", "cancel_consumer", "pool_grow", "pool_shrink", "pool_restart", "autoscale"),
    *("rate_limit", "time_limit", "revoke_by_stamped_headers", "election", "disable_events"),
)

log = structlog.get_logger(__name__)


@control_command(name="revoke", variadic="task_id", signature="[id1 [id2 [... [idN]]]]")
def revoke(state: Any, task_id: str | list[str], **_: Any) -> dict[str, str]:  # noqa: ARG001  # celery's shape
    """Cancel generations by their ids; at Replicate those that run."""
    ids = [task_id] if isinstance(task_id, str) else list(task_id)
    canceled = [each for each in ids if cancel(app, lifecycle.context().jobs, each)]
    log.info("revoked", generations=ids, canceled=len(canceled))
    return {"ok": f"canceled {len(canceled)} of {len(ids)}"}


@control_command(name="terminate", variadic="task_id", signature="<signal> [id1 [id2 [... [idN]]]]")
def terminate(state: Any, signal: str, task_id: str | list[str], **_: Any) -> dict[str, str]:  # noqa: ARG001  # celery's shape
    """The same: threads take no signals."""
    answer: dict[str, str] = revoke(state, task_id)
    return answer


@inspect_command(name="stats")
def stats(state: Any, **_: Any) -> dict[str, Any]:
    """Celery's own figures; of the broker no more than where it is, as the rest holds the passwords of sentinels."""
    told: dict[str, Any] = state.consumer.controller.stats()
    told["broker"] = {name: told["broker"].get(name) for name in ("transport", "hostname", "port", "virtual_host")}
    return told


def _refuse(state: Any, **_: Any) -> dict[str, str]:  # noqa: ARG001  # celery's shape
    """A command that would stop this worker, or change what it works on, while it seems well from outside."""
    return {"error": "refused: this worker works on its account's queue until it is stopped"}


for _name in REFUSED:
    control_command(name=_name)(_refuse)


@control_command(name="shutdown")
def shutdown(state: Any, msg: str = "told to", **_: Any) -> None:  # noqa: ARG001  # celery's shape
    """Stop as on SIGTERM: generations in flight are handed over."""
    log.info("shutdown", why=msg)
    os.kill(os.getpid(), signal.SIGTERM)
