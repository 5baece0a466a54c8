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
    AttemptFailure,
    NoOutput,
    NotSaved,
    OutputErased,
    PredictionCanceled,
    ReplibatchError,
    RequestError,
    WrongOutput,
)
from replibatch.execution import followup, outages, steps
from replibatch.execution.awaiting import await_end
from replibatch.execution.context import Running, WorkerContext
from replibatch.execution.create import create
from replibatch.execution.outcomes import Done, Leave, Left, Outcome, SteppedAside
from replibatch.execution.secret_inputs import secrets_of
from replibatch.foreign_text import quoted
from replibatch.jobs import Record
from replibatch.limits import Ticket
from replibatch.outputs.provenance import Provenance
from replibatch.outputs.save import save
from replibatch.outputs.shapes import Declared
from replibatch.redisdb.faults import is_lasting
from replibatch.replicate_api import Prediction
from replibatch.requests import Attempt, BatchResult, OutputFile, State, total_usd
from replibatch.routing import inputs_for

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
        own_errors: how often a create was answered with an error of Replicate's own.
        saw_outages: outages of the storage or a host that its saves met.
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
            running.attempt_key,
            record.fence,
            self.quote.reserved_usd,
            record.budget,
            record.priority,
            record.model,
            has_steps=record.request.steps > 1,
            whole_usd=steps.whole_usd(context, record, self.models, self.quote),
            yields=True if record.request.on_outage == "fallback" else None,
        )
        secrets = secrets_of(self.model, self.inputs)
        self._concealed = {value: str(self.inputs[name]) for name, value in secrets.items()}
        if secrets:
            context.api.conceal(self._concealed)
        self.sent_inputs: dict[str, Any] | None = None
        self.began = record.created_at or time.monotonic()
        self.prediction_id = record.prediction_id
        self.own_errors = 0
        self.saw_outages: set[str] = set()
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
        return quoted(text)

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
        attempts, made, files = steps.all_of_item(self, state, files, attempts)
        result = BatchResult(
            request_id=request.request_id,
            prompt=request.item_prompt,
            model_name=request.item_model,
            model_used=self.model.name if state == State.SUCCEEDED else None,
            success=state == State.SUCCEEDED,
            files=files,
            error=steps.named(request, self.cleaned(error)) if error else error,
            duration=round(time.monotonic() - started, 3),
            warnings=(*request.warnings, *self.warnings),
            attempts=attempts,
            cost_usd=total_usd(attempts),
            placeholder=state == State.PLACEHOLDER,
            state=state,
            inputs=self.inputs,
            steps=made,
            fields=request.fields,
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
    except Exception as error:  # a fault of ours must not leave a generation without its result
        if isinstance(error, RedisError) and not is_lasting(error):
            raise  # custody brings it back, to a process that reaches Redis again
        work.log.exception("unexpected")
        work.context.limiter.release(work.ticket, work.cost_usd or 0.0)
        why = f"unexpected {type(error).__name__}: {error}"
        attempts = work.attempts(AttemptFailure(why)) if work.prediction_id else work.record.attempts
        return work.settle(State.FAILED, (), attempts, error=why)


def _attempt(work: Work) -> Outcome:
    try:
        prediction = work.record.prediction_id or create(work)
        work.context.learned.about(work.model)
        ended = await_end(work, prediction)
        files = _save(work, ended)
        if followup.was_refused_an_address(work):
            work.context.learned.remember_data_uris(work.model.name)
        if work.record.request.then:
            return steps.hand_over(work, ended, files)
        return work.settle(State.SUCCEEDED, files, work.attempts(None))
    except AttemptFailure as failure:
        return followup.after(work, failure)


def _save(work: Work, ended: Prediction) -> tuple[OutputFile, ...]:
    """Save the output; a download that fails is tried again from the finished prediction."""
    context, request = work.context, work.record.request
    provenance = _provenance(work, ended)
    number = 0
    while True:
        number += 1
        try:
            files, warnings = save(
                ended.output,
                key=request.output,
                storage=context.storage.within(request.within),
                downloader=context.downloader,
                declared=Declared.of(work.model),
                extension_is_free=request.extension_is_free,
                provenance=provenance,
            )
        except (NoOutput, OutputErased):
            raise
        except (AttemptFailure, OSError) as failure:
            if isinstance(failure, WrongOutput) and number >= WRONG_TRIES:
                raise
            work.log.warning("could not save", error=str(failure))
            if outage := outages.of_save(work, failure):  # keep a paid output until Replicate erases it
                work.saw_outages.add(outage)
                outages.await_turn(work, outage)
            elif number >= SAVE_TRIES:
                raise NotSaved(f"the output could not be saved: {failure}") from failure
            else:
                work.pause(2.0**number / 4)
            with suppress(ReplibatchError):
                ended = context.api.get(ended.id)
        else:
            outages.saved(work)
            work.warnings = [*work.warnings, *warnings]
            return files


def _provenance(work: Work, ended: Prediction) -> Provenance | None:
    """The provenance to write into the files; None where they stay as they come."""
    request = work.record.request
    metadata = request.metadata or work.context.settings.metadata
    if metadata == "none":
        return None
    from_pictures = bool(request.references)
    if metadata == "source":
        return Provenance(work.model.name, ended.id, from_pictures=from_pictures)
    return Provenance(work.model.name, ended.id, work.inputs, from_pictures, work.cost_usd)
