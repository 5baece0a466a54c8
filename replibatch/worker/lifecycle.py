"""A worker process from its first check to its last hand-over."""

from __future__ import annotations

import os
import sys
import threading
import time

import structlog
from celery.platforms import EX_FAILURE, EX_OK
from celery.worker import state as celery_state
from redis import Redis
from redis.exceptions import AuthenticationError, RedisError

from replibatch.broker.results import ResultBackend
from replibatch.errors import ReplibatchError, SettingsError
from replibatch.execution import metrics
from replibatch.execution.cleanup import Cleanup
from replibatch.execution.context import WorkerContext
from replibatch.execution.takeover import Takeover
from replibatch.execution.webhooks import WebhookDelivery
from replibatch.foreign_text import visible
from replibatch.redisdb.connection import connect
from replibatch.redisdb.health import Health, check_server, unreachable
from replibatch.storage.shared import mark, refuse_another
from replibatch.worker.app import app, is_embedded, is_own, redis_url, report, settings
from replibatch.worker.script_loader import ScriptLoader

HAND_OVER_SECONDS = 2.0  # so long a worker that leaves waits for a Redis that is away …
CUT_OFF_SECONDS = 1.0  # … and so much longer for a create or a download in progress
LAST_CALL_SECONDS = 0.5

EX_USAGE = 2  # as for any mistake of the user that is found before money is spent

log = structlog.get_logger(__name__)


class _Open:
    """The process's context and takeover, while they are open."""

    context: WorkerContext | None = None
    takeover: Takeover | None = None
    cleanup: Cleanup | None = None
    webhooks: WebhookDelivery | None = None
    scripts: ScriptLoader | None = None
    exit_code: int = EX_OK


def context() -> WorkerContext:
    """This process's context."""
    if _Open.context is None:
        raise RuntimeError("the worker has not started")
    return _Open.context


def open_worker() -> None:
    """Check Redis and token, then begin. A fault in them ends the worker before it takes any work."""
    try:
        opened = WorkerContext(
            settings,
            redis_url,
            ResultBackend(app),
            embedded=is_embedded,
            own_lists=is_own,
            report=report,
            leave=_leave,
        )
        _await_redis(opened.redis)
        _warn_of_lost_writes(opened.redis)
        if not is_embedded:  # before its first heartbeat: callers compare their storage with the reported one
            report.update(mark(opened.storage, opened.limiter.status().processes))
        is_accepted = opened.credentials.check(opened.api)
        if not is_embedded:
            _share_storage(opened)
    except ReplibatchError as error:
        sys.stderr.write(f"replibatch: {visible(str(error))}\n")
        sys.exit(EX_USAGE if isinstance(error, SettingsError) else EX_FAILURE)
    if is_accepted:
        opened.credentials.lift_stop()
    else:
        opened.credentials.ask_later(opened.api)
    opened.start()
    metrics.watch(opened)
    _Open.context = opened
    _Open.takeover = Takeover(opened, app)
    _Open.takeover.start()
    _Open.cleanup = Cleanup(opened, report.get("storage"))
    _Open.cleanup.start()
    _Open.webhooks = WebhookDelivery(opened.jobs, settings, opened.storage)
    _Open.webhooks.start()
    if not is_embedded:
        _Open.scripts = ScriptLoader(opened.redis)
        _Open.scripts.start()


def drain() -> None:
    """Begin to leave; the process ends within seconds, even in the midst of a request.

    An unanswered create, a download, a Redis that is away are cut off: the generation is handed over as it is, or
    taken over once the lease has lapsed.
    """
    leaving = context()
    leaving.drain()
    time.sleep(HAND_OVER_SECONDS)
    leaving.out_of_patience.set()
    time.sleep(CUT_OFF_SECONDS)
    log.warning("cut off work that could not end in time; it is handed over", generations=len(leaving.running))
    last_call = threading.Thread(target=leaving.hand_over, name="last-call", daemon=True)
    last_call.start()
    last_call.join(LAST_CALL_SECONDS)
    os._exit(_Open.exit_code)


def close_worker() -> None:
    """Hand over the rest, and take leave."""
    if _Open.context and _Open.takeover and _Open.cleanup:
        _Open.cleanup.stop()
        if _Open.webhooks:
            _Open.webhooks.stop()
        if _Open.scripts:
            _Open.scripts.stop()
        _Open.takeover.stop()
        _Open.context.stop()
        _Open.context = None


def exit_code() -> int:
    """What the process ends with."""
    return _Open.exit_code


def _leave() -> None:
    """End this worker, as one that failed."""
    _Open.exit_code = EX_FAILURE
    threading.Thread(target=drain, name="drain", daemon=True).start()
    celery_state.should_stop = EX_FAILURE


def _await_redis(redis: Redis) -> None:
    """Wait for a Redis that is still being started, and say so; one that refuses the password ends the worker.

    Raises:
        ReplibatchError: it did not come, or refuses these credentials.
    """
    address = settings.redis_address
    try:
        connect(redis_url).ping()
    except AuthenticationError as error:
        raise SettingsError(f"REPLIBATCH_REDIS_URL: {unreachable(error, address).found}") from None
    except RedisError as error:
        log.warning("waiting for redis", redis=address, error=str(error))
    try:
        redis.ping()
    except RedisError as error:
        raise ReplibatchError(f"Redis ({address}): {error}") from None


def _share_storage(opened: WorkerContext) -> None:
    """Report this worker's storage, then compare the others': of two that differ, at least one ends.

    Raises:
        ReplibatchError: another live worker has another storage.
    """
    try:
        opened.limiter.heartbeat(report)
        refuse_another(opened.storage, opened.limiter.status().processes)
    except ReplibatchError:
        opened.limiter.heartbeat({}, leaving=True)
        raise


def _warn_of_lost_writes(redis: Redis) -> None:
    """Warn when this Redis could lose a write that it has acknowledged: paying once rests on those."""
    for finding in check_server(redis):
        if finding.state != Health.OK:
            log.warning(finding.found, about=finding.subject, mend=finding.mend)
