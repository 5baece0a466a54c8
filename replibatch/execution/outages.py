"""What hits everybody: the attempt waits for it, and nothing is used up, paid again or lost meanwhile."""

from __future__ import annotations

import errno
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
from redis.exceptions import RedisError

from replibatch.errors import (
    ApiUnreachable,
    AttemptFailure,
    Interrupted,
    MaybeCreated,
    ModelMissing,
    NoOutput,
    NotSaved,
    PredictionFailed,
    PredictionTimedOut,
    ReplibatchError,
    StorageError,
    WrongOutput,
)
from replibatch.execution.decide import HELD
from replibatch.limits.outages import API, OUTPUTS, READS, STORAGE, Fault, of_model
from replibatch.redisdb.loop import Loop
from replibatch.redisdb.scripts import run_together
from replibatch.requests import Attempt

if TYPE_CHECKING:
    from replibatch.execution.attempt import Work
    from replibatch.execution.context import WorkerContext
    from replibatch.limits import Limiter

IN_A_ROW = 3  # creates without an answer; outputs that cannot be downloaded; 404s of a model
MISSING_TRIES = 5  # of an attempt whose model answers 404, while others' do not: then it is the attempt's
MISSING_AGAIN_SECONDS = 0.25  # before its second try, doubled with each further one
OWN_ERRORS = 5  # of Replicate's own to creates of one attempt: then it is the attempt's
UPLOAD_AGAIN_SECONDS = 2.0
TURN_SECONDS = 5.0  # between two tries to save an output
LEAST_FREE_BYTES = 32 * 1024**2  # of a storage: with less nothing more is created
CHECK_SECONDS = 2.0
UNREAD_SECONDS = 4.0  # without a read, while predictions are awaited

_FAILURES_OF_MODELS = (PredictionFailed, PredictionTimedOut, Interrupted, NoOutput, WrongOutput)
_STORAGE_IS_FULL = (errno.ENOSPC, errno.EDQUOT)
_PROCESS_IS_SHORT = (errno.EMFILE, errno.ENFILE)  # of descriptors: passes, and says nothing of the storage


def hold(work: Work, failure: ApiUnreachable) -> None:
    """A create surely never reached Replicate: the attempt waits again, at its place."""
    work.log.warning("replicate cannot be reached", kind=failure.kind, error=work.cleaned(str(failure)))
    context = work.context
    run_together(context.redis, context.limiter.held_step(work.ticket, _of_api(failure)))


def pause_for_upload(work: Work, failure: ApiUnreachable) -> None:
    """A reference image could not be uploaded: try again, and use nothing up."""
    work.log.warning("could not upload", error=str(failure))
    work.context.limiter.report_fault(_of_api(failure))
    work.pause(UPLOAD_AGAIN_SECONDS)


def is_of_all(work: Work, failure: MaybeCreated) -> bool:
    """Whether a lost reply is everybody's: then the attempt is not used up, should nothing have been created."""
    if failure.unreachable:
        work.context.limiter.report_fault(_of_api(failure.unreachable), work.running.attempt_key)
        return True
    work.own_errors += 1
    fault = Fault(API, "error", str(failure), IN_A_ROW)
    is_out = work.context.limiter.report_fault(fault, work.running.attempt_key)
    return is_out and work.own_errors < OWN_ERRORS


def holds_model(work: Work, failure: AttemptFailure) -> bool:
    """Whether a failed attempt shows that its model is out: then it is made again on it, once the model works."""
    if isinstance(failure, ModelMissing):
        after = IN_A_ROW
    elif isinstance(failure, _FAILURES_OF_MODELS):
        after = work.context.settings.outage_after
    else:
        return False
    fault = Fault(of_model(work.model.name), failure.reason, work.cleaned(str(failure)), after)
    return work.context.limiter.report_fault(fault, work.running.attempt_key)


def missing_again_seconds(work: Work, attempts: Sequence[Attempt]) -> float | None:
    """The pause before a model that answers 404 is tried again: too few such answers have come to call it gone.

    Returns:
        Seconds; None where this attempt has had enough of them.
    """
    tries = sum(each.model == work.model.name and each.reason == ModelMissing.reason for each in attempts)
    return MISSING_AGAIN_SECONDS * 2.0 ** (tries - 1) if tries < MISSING_TRIES else None


def held_attempts(attempts: list[Attempt]) -> list[Attempt]:
    """The same, with the last as one that uses up nothing."""
    return [*attempts[:-1], replace(attempts[-1], reason=HELD)]


def await_turn(work: Work, name: str) -> None:
    """Wait until this attempt may try to save its output: one at a time does, while the rest waits."""
    while wait_seconds := work.context.limiter.may_try(name, _saver(work)):
        work.pause(wait_seconds)


def of_save(work: Work, failure: AttemptFailure | OSError) -> str:
    """The outage that a failed save shows; empty where only this output is concerned."""
    context, fault = work.context, None
    if isinstance(failure, NotSaved) and _is_of_host(failure):
        fault = Fault(OUTPUTS, "download", str(failure), IN_A_ROW, TURN_SECONDS)
    elif isinstance(failure, OSError) and failure.errno not in _PROCESS_IS_SHORT:
        fault = storage_fault(context, failure)
    if fault is None:
        return ""
    return fault.name if context.limiter.report_fault(fault, _saver(work)) else ""


def report_download(limiter: Limiter, cause: str) -> None:
    """A download has failed twice, and is tried again."""
    with suppress(RedisError):
        limiter.report_fault(Fault(OUTPUTS, "download", cause, IN_A_ROW, TURN_SECONDS))


def saved(work: Work) -> None:
    """An output was saved: both its host and the storage work."""
    for name in (OUTPUTS, STORAGE):
        if name in work.context.waiting_room.outages or name in work.saw_outages:
            work.context.limiter.report_success(name)


def storage_fault(context: WorkerContext, failure: OSError | None = None) -> Fault | None:
    """The fault of a storage that takes no files; None where it does.

    Args:
        context: the worker's.
        failure: the error of a save; None for a check without one.
    """
    reason = failure.strerror or str(failure) if failure else ""
    if failure and failure.errno in _STORAGE_IS_FULL:
        return Fault(STORAGE, "full", f"{context.storage.where}: {reason}", pause_seconds=TURN_SECONDS)
    try:
        free_bytes = context.storage.free_bytes()
        context.storage.check_writable()
    except (OSError, ReplibatchError) as error:
        return Fault(STORAGE, "refused", str(error), pause_seconds=TURN_SECONDS)
    if free_bytes is not None and free_bytes < LEAST_FREE_BYTES:
        left, least = free_bytes / 1024**2, LEAST_FREE_BYTES >> 20
        words = f"{context.storage.where} has {left:,.0f} MiB left; expected: {least} or more"
        return Fault(STORAGE, "full", words, pause_seconds=TURN_SECONDS)
    if isinstance(failure, StorageError):  # object storage that answers a small write, and failed this one
        return Fault(STORAGE, "refused", f"{context.storage.where}: {reason}", IN_A_ROW, TURN_SECONDS)
    return None


class Checks:
    """Checks every other second whether the storage takes files, and whether reads of the API have answers.

    Args:
        context: the worker's.
    """

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._reported: set[str] = set()
        self._asked_at = 0.0
        self._last_trouble: ApiUnreachable | None = None
        self._loop = Loop("outages", self._step)

    def start(self) -> None:
        """Begin."""
        self._loop.start()

    def stop(self) -> None:
        """End."""
        self._loop.stop(CHECK_SECONDS)

    def _step(self) -> float:
        context = self._context
        self._tell(STORAGE, storage_fault(context))
        trouble = self._trouble()
        self._tell(READS, Fault(READS, trouble.kind, str(trouble)) if trouble else None)
        return CHECK_SECONDS

    def _trouble(self) -> ApiUnreachable | None:
        """Why reads have no answer; None where they have. Asks while predictions are awaited that need no poll."""
        watcher = self._context.watcher
        is_due = watcher.is_watching and time.monotonic() - max(watcher.read_at, self._asked_at) > UNREAD_SECONDS
        if watcher.trouble or not is_due:
            return watcher.trouble or self._last_trouble
        self._asked_at, self._last_trouble = time.monotonic(), None
        try:
            self._context.api.account()
        except ApiUnreachable as trouble:
            self._last_trouble = trouble
        except ReplibatchError:
            pass
        return self._last_trouble

    def _tell(self, name: str, fault: Fault | None) -> None:
        """Report a fault again and again, and its end once."""
        if fault:
            self._context.limiter.report_fault(fault)
            self._reported.add(name)
        elif name in self._reported or name in self._context.waiting_room.outages:
            self._context.limiter.report_success(name, own=True)
            self._reported.discard(name)


def _of_api(failure: ApiUnreachable) -> Fault:
    return Fault(API, failure.kind, str(failure), IN_A_ROW)


def _saver(work: Work) -> str:
    return f"try:{work.running.attempt_key}"


def _is_of_host(failure: NotSaved) -> bool:
    """Whether a download failed for a cause that the next one may meet, too."""
    cause = failure.__cause__
    if isinstance(cause, httpx.HTTPStatusError):
        return cause.response.status_code not in (404, 410, 416)
    return isinstance(cause, httpx.TransportError)
