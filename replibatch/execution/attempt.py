"""One attempt, from top to bottom.

take custody → create → await the end → save → settle
                                          └─ failed: the next attempt, a placeholder, or the end
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from redis.exceptions import RedisError

from replibatch.broker.publish import HEAD
from replibatch.errors import (
    AddressRefused,
    AttemptFailure,
    InputDropped,
    InvalidInput,
    NoOutput,
    NotSaved,
    OutputErased,
    PredictionCanceled,
    PredictionFailed,
    ReplibatchError,
    RequestError,
    WrongOutput,
)
from replibatch.execution.context import OVERDUE_SECONDS, Running, WorkerContext
from replibatch.execution.create import create
from replibatch.execution.decide import GiveUp, NextModel, Retry, Wait, decide
from replibatch.execution.learned import refuses_addresses
from replibatch.execution.outcomes import Leave, Next, Outcome, SteppedAside
from replibatch.execution.work import Work
from replibatch.jobs import Message, Notice, Record
from replibatch.outputs.save import save, save_placeholder
from replibatch.outputs.shapes import Declared
from replibatch.replicate_api import Prediction
from replibatch.requests import Attempt, BatchResult, OutputFile, State

CANCEL_AGAIN_SECONDS = 5.0  # where a cancel did not end it
SAVE_TRIES = 4
WRONG_TRIES = 2  # of what is a page instead of a file: the server may have been in trouble
THROTTLED_SECONDS = 1.0  # before another try, where a throttled upload named no wait


def generate(
    context: WorkerContext,
    generation_id: str,
    attempt: int,
    *,
    started: Notice,
    notice_of: Callable[[Record, BatchResult], Notice],
) -> Outcome:
    """Make one attempt.

    Args:
        context: the worker process's.
        generation_id: whose.
        attempt: the number of the attempt the message is for.
        started: given once the generation is this process's.
        notice_of: what is given with a record's result.
    """
    record = context.jobs.take(generation_id, attempt, started)
    if record is None:
        return SteppedAside()
    running = Running(record.attempt_key, canceled=record.canceling)
    context.begin(generation_id, running)
    try:
        return _run(Work(context, record, running, notice_of))
    finally:
        context.end(generation_id, running)


def _run(work: Work) -> Outcome:
    try:
        return _attempt(work)
    except Leave as leave:
        return leave.outcome
    except RequestError as error:  # a reference image that is in the storage no more
        return work.settle(State.FAILED, (), work.record.attempts, error=str(error))
    except RedisError:
        raise  # custody brings it back, to whoever reaches Redis again
    except Exception as error:  # a fault of ours must not leave a generation without its result
        work.log.exception("unexpected")
        work.limiter(work.context.limiter.released(work.ticket, work.cost_usd or 0.0))
        why = f"unexpected {type(error).__name__}: {error}"
        attempts = work.attempts(AttemptFailure(why)) if work.prediction_id else work.record.attempts
        return work.settle(State.FAILED, (), attempts, error=why)


def _attempt(work: Work) -> Outcome:
    try:
        prediction = work.record.prediction_id or create(work)
        work.context.learned.about(work.model)
        ended = _await_end(work, prediction)
        files = _save(work, ended)
        if _was_refused_an_address(work):
            work.context.learned.remember_data_uris(work.model.name)
        return work.settle(State.SUCCEEDED, files, work.attempts(None))
    except AttemptFailure as failure:
        return _after(work, _for_a_dropped_input(work, failure) or _for_a_refused_address(work, failure) or failure)


def _await_end(work: Work, prediction: Prediction | str) -> Prediction:
    """Wait until the prediction is over, give its slot back, and raise if it failed."""
    context = work.context
    if work.record.prediction_id:
        context.limiter.adopt(work.ticket, work.record.prediction_id)
    deadline = work.began + context.settings.prediction_timeout_seconds
    prediction_id = prediction if isinstance(prediction, str) else prediction.id
    ends: list[Prediction] = []

    def on_end(ended: Prediction) -> None:
        ends.append(ended)
        work.running.news.set()

    context.tickets[prediction_id] = work.ticket, work.quote
    context.watcher.watch(prediction, work.model.name, work.model.typical_seconds, on_end)
    try:
        while not ends:
            came = work.await_news(max(CANCEL_AGAIN_SECONDS, deadline + OVERDUE_SECONDS - time.monotonic()))
            overdue = not came or time.monotonic() >= deadline + OVERDUE_SECONDS
            if not ends:
                work.leave_if_draining()
                if overdue or work.running.canceled:
                    _cancel(work, prediction_id, on_end, overdue=overdue)
    finally:
        if not work.running.superseded:  # else another thread watches it
            context.watcher.forget(prediction_id)
            if not ends:
                context.tickets.pop(prediction_id, None)
    ended = ends[0]
    work.cost_usd = work.quote.settled_usd(ended)
    context.free_slots(ends)  # it is free already, where the watcher has seen the end
    if work.running.canceled and ended.status == "canceled":
        raise Leave(work.canceled())
    lasted_seconds = time.monotonic() - work.began if ended.lasted_seconds is None else ended.lasted_seconds
    if failure := ended.failure(past_deadline=lasted_seconds >= context.settings.prediction_timeout_seconds - 1):
        raise failure
    return ended


def _cancel(work: Work, prediction_id: str, on_end: Callable[[Prediction], None], *, overdue: bool) -> None:
    try:
        canceled = work.context.api.cancel(prediction_id, overdue=overdue)
    except AttemptFailure as failure:
        work.log.warning("could not cancel", error=str(failure))
        work.await_news(1.0)
        work.running.news.set()  # to try again
        return
    if canceled.is_over:
        on_end(canceled)


def _save(work: Work, ended: Prediction) -> tuple[OutputFile, ...]:
    """Bring the output home; what fails is tried again from the finished prediction."""
    context = work.context
    for number in range(1, SAVE_TRIES + 1):
        try:
            files, warnings = save(
                ended.output,
                key=work.record.request.output,
                storage=context.storage,
                downloader=context.downloader,
                declared=Declared.of(work.model),
                extension_is_free=work.record.request.extension_is_free,
            )
        except (NoOutput, OutputErased):
            raise
        except (AttemptFailure, OSError) as failure:
            if isinstance(failure, WrongOutput) and number == WRONG_TRIES:
                raise
            if number == SAVE_TRIES:
                raise NotSaved(f"the output could not be saved: {failure}") from failure
            work.log.warning("could not save", error=str(failure))
            work.pause(2.0**number / 4)
            with suppress(ReplibatchError):
                ended = context.api.get(ended.id)
        else:
            work.warnings = [*work.warnings, *warnings]
            return files
    raise AssertionError("unreachable")


def _for_a_dropped_input(work: Work, failure: AttemptFailure) -> AttemptFailure | None:
    """The same failure for what it was, where Replicate had dropped a file that was uploaded for the model."""
    if work.sent_inputs and type(failure) in (PredictionFailed, InvalidInput):
        with suppress(ReplibatchError):  # whether it is there could not be asked
            if work.context.uploads.dropped(work.inputs, work.sent_inputs):
                return InputDropped(f"an uploaded file was dropped before the model read it: {failure}")
    return None


def _for_a_refused_address(work: Work, failure: AttemptFailure) -> AttemptFailure | None:
    """The same failure for what it may be: the model does not take addresses of files. A data URI shows it."""
    if _was_refused_an_address(work):
        return None
    if type(failure) not in (PredictionFailed, InvalidInput) or not refuses_addresses(str(failure)):
        return None
    if not work.sent_inputs or not work.context.uploads.has_urls(work.inputs, work.sent_inputs):
        return None
    work.context.learned.try_data_uris(work.model.name)
    return AddressRefused(f"the model does not take the address of an uploaded file: {failure}")


def _was_refused_an_address(work: Work) -> bool:
    """Whether an earlier attempt on this model has failed so: files then go as data URIs."""
    return any(
        attempt.model == work.model.name and attempt.reason == AddressRefused.reason
        for attempt in work.record.attempts
    )


def _after(work: Work, failure: AttemptFailure) -> Outcome:
    """What follows a failed attempt."""
    record, settings = work.record, work.context.settings
    work.log.info("attempt failed", reason=failure.reason, error=work.cleaned(str(failure)))
    attempts = work.attempts(failure)
    own_retries = record.request.max_retries
    max_retries = settings.max_retries if own_retries is None else own_retries
    decision = decide(
        failure,
        attempts,
        work.model,
        work.models,
        references=len(record.request.references),
        fallback=record.request.fallback,
        max_retries=max_retries,
    )
    if isinstance(failure, AddressRefused):
        decision = Retry(0.0)  # once: the next attempt sends no address
    if isinstance(failure, OutputErased) and settings.regenerate_erased:
        erased = sum(attempt.reason == OutputErased.reason for attempt in attempts)
        decision = Retry(0.0) if erased <= max_retries else decision
    model, pause_seconds = work.model.name, 0.0
    match decision:
        case GiveUp():
            return _give_up(work, failure, attempts)
        case NextModel():
            model = decision.model
        case Retry():
            pause_seconds = decision.pause_seconds
        case Wait():
            pause_seconds = decision.seconds or THROTTLED_SECONDS
    if not work.context.jobs.advance(record, model, attempts, pause_seconds):
        return SteppedAside()
    return Next(Message(record.id, record.attempt + 1, model, HEAD), failure)


def _give_up(work: Work, failure: AttemptFailure, attempts: list[Attempt]) -> Outcome:
    """No model is left: a placeholder where one fits, and the chain of reasons."""
    error = "; ".join(f"{attempt.model}: {attempt.message}" for attempt in attempts)
    answer_stands = isinstance(failure, InvalidInput | NotSaved | OutputErased | PredictionCanceled)
    if work.context.settings.placeholder and work.model.kind == "image" and not answer_stands:
        try:
            placeholder = save_placeholder(key=work.record.request.output, storage=work.context.storage)
        except OSError as fault:
            placeholder = None
            work.warnings = [*work.warnings, f"the placeholder could not be saved: {fault}"]
        if placeholder:
            return work.settle(State.PLACEHOLDER, (placeholder,), attempts, error=error)
    return work.settle(State.FAILED, (), attempts, error=error)
