"""One attempt, from top to bottom.

take custody → create → await the end → save → settle
                                          └─ failed: the next attempt, a placeholder, or the end
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from queue import Empty
from typing import Any

import structlog
from redis.exceptions import RedisError

from replibatch.errors import (
    AccountStopped,
    AttemptFailure,
    MaybeCreated,
    NoOutput,
    NotCreated,
    NotSaved,
    OutputErased,
    PredictionCanceled,
    ReplibatchError,
    RequestError,
    Throttled,
    WrongOutput,
)
from replibatch.execution import followup
from replibatch.execution.context import OVERDUE_SECONDS, Running, WorkerContext
from replibatch.execution.outcomes import Done, Leave, Left, Outcome, SteppedAside
from replibatch.execution.reconcile import Lost, fingerprint
from replibatch.execution.secret_inputs import check_secrets, secrets_of
from replibatch.jobs import Record
from replibatch.limits import Standing, Ticket
from replibatch.outputs.save import save
from replibatch.outputs.shapes import Declared
from replibatch.redisdb.scripts import run_together
from replibatch.replicate_api import Prediction
from replibatch.requests import Attempt, BatchResult, OutputFile, State, total_usd
from replibatch.routing import inputs_for

CANCEL_AGAIN_SECONDS = 5.0  # where a cancel did not end it
CANCEL_FAILED_SECONDS = 1.0  # before the next try of one that failed
SAVE_TRIES = 4
WRONG_TRIES = 2  # of a page instead of a file: the server may have been in trouble

log = structlog.get_logger("replibatch.execution")


def generate(context: WorkerContext, generation_id: str, attempt: int) -> Outcome:
    """Make one attempt.

    Args:
        context: the worker process's.
        generation_id: the generation.
        attempt: the number of the attempt that the message is for.
    """
    record = context.jobs.take(generation_id, attempt, context.results.started(generation_id))
    if record is None:
        return SteppedAside()
    running = Running(record.attempt_key, canceled=record.canceling)
    context.begin(generation_id, running)
    try:
        return _run(Work(context, record, running))
    finally:
        context.end(generation_id, running)


class Work:
    """One attempt in this process's custody.

    Args:
        context: the worker process's.
        record: the generation's, with its fence.
        running: how other threads reach the one that works on it.

    Attributes:
        model: the attempt's.
        models: those of the whole chain, by name.
        inputs: what the model is given; reference images still as they are in the storage.
        sent_inputs: the same as it is sent, with the URLs of uploaded files; None until then.
        ticket: for the limiter.
        began: when the attempt began, on the monotonic clock.
        prediction_id: once there is one.
        quote: the attempt's price.
        cost_usd: what the attempt cost; None where the price is not known.
    """

    def __init__(self, context: WorkerContext, record: Record, running: Running) -> None:
        self.context = context
        self.record = record
        self.running = running
        self.models = context.models_of(record)
        self.model = self.models[record.model]
        safety_off = context.settings.fallback_safety_off and record.model != record.request.model
        self.inputs, self.warnings = inputs_for(self.model, record.request, safety_off=safety_off)
        self.quote = context.prices.quote(self.model, self.inputs, record.request.max_price_usd)
        self.ticket = Ticket(
            running.attempt_key, record.fence, self.quote.reserved_usd, record.budget, record.priority
        )
        secrets = secrets_of(self.model, self.inputs)
        self._concealed = {value: str(self.inputs[name]) for name, value in secrets.items()}
        if secrets:
            context.api.conceal(self._concealed)
        self.sent_inputs: dict[str, Any] | None = None
        self.began = record.created_at or time.monotonic()
        self.prediction_id = record.prediction_id
        self.cost_usd: float | None = 0.0
        self.log = log.bind(
            generation=record.id, batch=record.batch or None, model=record.model, attempt=record.attempt
        )
        if record.prediction_id:
            self.has_created(record.prediction_id)

    def has_created(self, prediction_id: str) -> None:
        """From now on the attempt has a prediction."""
        self.prediction_id = prediction_id
        self.log = self.log.bind(prediction=prediction_id)

    def cleaned(self, text: str) -> str:
        """A text without the secrets that were sent."""
        for value, reference in self._concealed.items():
            text = text.replace(value, reference)
        return text

    def await_mail(self, timeout_seconds: float | None = None) -> Prediction | None:
        """Wait for mail from another thread: a prediction, or None for anything else there is to see.

        Raises:
            Empty: none came in time.
        """
        return self.running.mail.get(timeout=timeout_seconds)

    def pause(self, seconds: float) -> None:
        """Wait, unless the process drains or the owner cancels."""
        ends = time.monotonic() + seconds  # the wall clock may be set back meanwhile
        while (left_seconds := ends - time.monotonic()) > 0:
            self.leave_if_over()
            with suppress(Empty):
                self.await_mail(left_seconds)
        self.leave_if_over()

    def leave_if_over(self) -> None:
        """Go no further where the process drains or the owner has canceled.

        Raises:
            Leave: with the outcome.
        """
        self.leave_if_draining()
        if self.running.canceled:
            raise Leave(self.canceled())

    def leave_if_draining(self) -> None:
        """Go no further where others take over: the process is on its way out, or the generation was taken from it.

        Raises:
            Leave: with the outcome.
        """
        if self.running.superseded:
            raise Leave(SteppedAside())
        if self.context.waiting_room.draining:
            raise Leave(Left("handed over: the worker stops"))

    def attempts(self, failure: AttemptFailure | None) -> list[Attempt]:
        """All attempts, this one last: failed, or with None succeeded."""
        this = Attempt(
            model=self.model.name,
            prediction_id=self.prediction_id,
            outcome="failed" if failure else "succeeded",
            reason=failure.reason if failure else None,
            message=self.cleaned(str(failure)) if failure else None,
            seconds=round(time.monotonic() - self.began, 3),
            cost_usd=None if self.cost_usd is None else round(self.cost_usd, 6),
        )
        return [*self.record.attempts, this]

    def canceled(self) -> Outcome:
        """The result of a generation that its owner has canceled."""
        attempts: Sequence[Attempt] = self.record.attempts
        if self.prediction_id:
            attempts = self.attempts(PredictionCanceled("canceled by its owner"))
        return self.settle(State.CANCELED, (), attempts, error="canceled")

    def settle(
        self, state: State, files: tuple[OutputFile, ...], attempts: Sequence[Attempt], *, error: str | None = None
    ) -> Outcome:
        """Write the one result."""
        record, request, context = self.record, self.record.request, self.context
        started = record.started_at or self.began
        result = BatchResult(
            request_id=request.request_id,
            prompt=request.prompt,
            model_name=request.asked_model,
            model_used=self.model.name if state == State.SUCCEEDED else None,
            success=state == State.SUCCEEDED,
            files=files,
            error=self.cleaned(error) if error else error,
            duration=round(time.monotonic() - started, 3),
            warnings=(*request.warnings, *self.warnings),
            attempts=tuple(attempts),
            cost_usd=total_usd(attempts),
            placeholder=state == State.PLACEHOLDER,
            state=state,
            inputs=self.inputs,
        )
        notice = context.results.ended(record.id, result, in_batch=bool(record.batch))
        settled = context.jobs.settle(record, state, result, notice)
        if settled is None:
            return SteppedAside()
        self.log.info("settled", state=state.value, cost_usd=result.cost_usd)
        return Done(result, settled)


def _run(work: Work) -> Outcome:
    try:
        return _attempt(work)
    except Leave as leave:
        return leave.outcome
    except RequestError as error:  # a reference image that is in the storage no more
        return work.settle(State.FAILED, (), work.record.attempts, error=str(error))
    except RedisError:
        raise  # the takeover thread of a process that reaches Redis brings it back
    except Exception as error:  # a fault of ours must not leave a generation without its result
        work.log.exception("unexpected")
        work.context.limiter.release(work.ticket, work.cost_usd or 0.0)
        why = f"unexpected {type(error).__name__}: {error}"
        attempts = work.attempts(AttemptFailure(why)) if work.prediction_id else work.record.attempts
        return work.settle(State.FAILED, (), attempts, error=why)


def _attempt(work: Work) -> Outcome:
    try:
        prediction = work.record.prediction_id or _create(work)
        work.context.learned.about(work.model)
        ended = _await_end(work, prediction)
        files = _save(work, ended)
        return work.settle(State.SUCCEEDED, files, work.attempts(None))
    except AttemptFailure as failure:
        return followup.after(work, failure)


def _create(work: Work) -> Prediction:
    """Pass the limiter and create the prediction, or find it where the reply was lost.

    Raises:
        AttemptFailure: it was not created.
        Leave: the attempt ends here.
    """
    context, record, ticket = work.context, work.record, work.ticket
    work.quote.check(record.request.max_price_usd)
    check_secrets(work.model, work.inputs)
    if record.pause_seconds:
        work.pause(record.pause_seconds)
    wants_data = work.model.data_uris or context.learned.wants_data_uris(work.model.name)
    try:
        inputs = context.uploads.with_data(work.inputs) if wants_data else context.uploads.with_urls(work.inputs)
    except AccountStopped as stop:
        raise Leave(followup.stopped(work, stop)) from stop
    work.sent_inputs = inputs
    secrets = secrets_of(work.model, work.inputs)
    # The fingerprint holds no secret: the account's list never shows one.
    sent = fingerprint(work.model.name, {name: value for name, value in inputs.items() if name not in secrets})
    while True:
        standing = context.waiting_room.acquire(ticket)
        if standing in (Standing.UNSETTLED, Standing.CREATED):  # taken over before its prediction was recorded
            return _find_lost(work, record.sent)
        if standing != Standing.CLAIMED:
            raise Leave(followup.turned_away(work, standing))
        if work.running.canceled or context.waiting_room.draining:
            context.limiter.release(ticket)
            work.leave_if_over()
        confirmed_at = time.monotonic()  # from here on the create is sent only if the record is surely still ours
        if (intent := context.jobs.intend(record, sent)) != "ok":
            context.limiter.release(ticket)
            raise Leave(followup.not_sent(work, intent))
        work.began = time.monotonic()
        try:
            prediction = context.api.create(
                work.model.address,
                inputs | secrets,
                context.settings.prediction_timeout_seconds,
                may_send=lambda: context.waiting_room.heartbeat.lived_since(confirmed_at),  # noqa: B023  # asked within
            )
        except Throttled as failure:
            work.log.info("throttled", retry_after_seconds=failure.retry_after_seconds)
            run_together(context.redis, context.limiter.throttled_step(ticket, failure.retry_after_seconds))
        except MaybeCreated as failure:
            work.log.warning("the reply to a create was lost", error=work.cleaned(str(failure)))
            return _find_lost(work, sent)
        except AccountStopped as stop:
            run_together(context.redis, context.limiter.refused_step(ticket))
            raise Leave(followup.stopped(work, stop)) from stop
        except AttemptFailure:
            run_together(context.redis, context.limiter.refused_step(ticket))
            raise
        else:
            return prediction if _claim(work, prediction) else _find_lost(work, sent)


def _claim(work: Work, prediction: Prediction) -> bool:
    """Make the prediction this attempt's; False where a twin of equal input has claimed it already.

    Where the record was lost with Redis' data, the attempt goes on: no other process would see its prediction end.
    """
    answer = work.context.claim(work.record, work.ticket, prediction.id)
    if answer == "fenced":
        raise Leave(SteppedAside())
    if answer == "twin":
        return False
    work.has_created(prediction.id)
    work.log.info("created")
    return True


def _find_lost(work: Work, sent: str | None) -> Prediction:
    """Find the prediction of a create after its reply was lost, by the fingerprint of the sent inputs."""
    context = work.context
    lost = Lost(work.record, work.ticket, sent)
    context.reconciler.submit(lost, tell=work.running.wake)
    while lost.is_open:
        work.leave_if_draining()
        work.await_mail()
    if lost.found is None:
        context.not_created(work.ticket)
        raise NotCreated("the create never reached Replicate")
    work.has_created(lost.found.id)
    return lost.found


def _await_end(work: Work, prediction: Prediction | str) -> Prediction:
    """Wait until the prediction is over, give its slot back, and raise if it failed."""
    context, ticket = work.context, work.ticket
    if work.record.prediction_id:
        context.limiter.adopt(ticket, work.record.prediction_id)
    deadline = work.began + context.settings.prediction_timeout_seconds
    prediction_id = prediction if isinstance(prediction, str) else prediction.id
    ended: Prediction | None = None
    context.tickets[prediction_id] = ticket, work.quote
    context.watcher.watch(prediction, work.model.name, work.model.typical_seconds, work.running.mail.put)
    try:
        while ended is None:
            overdue = False
            try:
                ended = work.await_mail(max(CANCEL_AGAIN_SECONDS, deadline + OVERDUE_SECONDS - time.monotonic()))
            except Empty:
                overdue = True
            if ended is None:
                work.leave_if_draining()
                overdue = overdue or time.monotonic() >= deadline + OVERDUE_SECONDS
                if (overdue or work.running.canceled) and (ended := _cancel(work, prediction_id, overdue=overdue)):
                    context.watcher.forget(prediction_id)
    finally:
        if ended is None and not work.running.superseded:  # else another thread watches it
            context.watcher.forget(prediction_id)
            context.tickets.pop(prediction_id, None)
    work.cost_usd = work.quote.settled_usd(ended)
    if prediction_id in context.tickets:  # else the watcher has seen the end, and freed the slot
        context.free_slots([ended])
    if work.running.canceled and ended.status == "canceled":
        raise Leave(work.canceled())
    lasted_seconds = time.monotonic() - work.began if ended.lasted_seconds is None else ended.lasted_seconds
    if failure := ended.failure(past_deadline=lasted_seconds >= context.settings.prediction_timeout_seconds - 1):
        raise failure
    return ended


def _cancel(work: Work, prediction_id: str, *, overdue: bool) -> Prediction | None:
    """Cancel it at Replicate; returns it if it is over now."""
    try:
        canceled = work.context.api.cancel(prediction_id, overdue=overdue)
    except AttemptFailure as failure:
        work.log.warning("could not cancel", error=str(failure))
        with suppress(Empty):
            if ended := work.await_mail(CANCEL_FAILED_SECONDS):
                return ended
        work.running.wake()  # to try again
        return None
    return canceled if canceled.is_over else None


def _save(work: Work, ended: Prediction) -> tuple[OutputFile, ...]:
    """Save the output; a download that fails is tried again from the finished prediction."""
    context, request = work.context, work.record.request
    for number in range(1, SAVE_TRIES + 1):
        try:
            files, warnings = save(
                ended.output,
                key=request.output,
                storage=context.storage,
                downloader=context.downloader,
                declared=Declared.of(work.model),
                extension_is_free=request.extension_is_free,
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
