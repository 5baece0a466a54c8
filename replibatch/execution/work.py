"""What one attempt works on, and the few things each of its steps needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from replibatch.errors import AttemptFailure, PredictionCanceled
from replibatch.execution.context import Running, WorkerContext
from replibatch.execution.outcomes import Done, Leave, Left, Outcome, SteppedAside
from replibatch.execution.secret_inputs import secrets_of
from replibatch.foreign_text import quoted
from replibatch.jobs import Notice, Record
from replibatch.limits import Ticket
from replibatch.redisdb.scripts import Step, run_together
from replibatch.requests import Attempt, BatchResult, OutputFile, State, total_usd
from replibatch.routing import inputs_for

log = structlog.get_logger("replibatch.execution")


class Work:
    """One attempt in this process's custody.

    Args:
        context: the worker process's.
        record: the generation's, with its fence.
        running: how the process reaches the thread that works on it.
        notice_of: what is given with the record's result.

    Attributes:
        model: the attempt's.
        models: those of the whole chain, by name.
        inputs: what the model is given; reference images still as they are in the storage.
        sent_inputs: the same as it is sent, with the URLs of uploaded files; None until then.
        ticket: for the limiter.
        began: when the attempt began, on the monotonic clock.
        prediction_id: once there is one.
        quote: what the attempt costs.
        cost_usd: what the attempt cost, once that is known; None where nobody can tell.
    """

    def __init__(
        self,
        context: WorkerContext,
        record: Record,
        running: Running,
        notice_of: Callable[[Record, BatchResult], Notice],
    ) -> None:
        self.context = context
        self.record = record
        self.running = running
        self._notice_of = notice_of
        self.models = context.chains.of(record)
        self.model = self.models[record.model]
        safety_off = context.settings.fallback_safety_off and record.model != record.request.model
        self.inputs, self.warnings = inputs_for(self.model, record.request, safety_off=safety_off)
        self.quote = context.prices.quote(self.model, self.inputs, record.request.max_price_usd)
        self.ticket = Ticket(record.attempt_key, record.fence, self.quote.reserved_usd, record.purse, record.priority)
        self._concealed = {
            value: str(self.inputs[name]) for name, value in secrets_of(self.model, self.inputs).items()
        }
        if self._concealed:
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
        """A text of others without the secrets that were sent."""
        for value, reference in self._concealed.items():
            text = text.replace(value, reference)
        return quoted(text)

    def limiter(self, *steps: Step) -> None:
        """Take steps at the limiter."""
        run_together(self.context.redis, *steps)

    def await_news(self, timeout_seconds: float | None = None) -> bool:
        """Wait for news; False if none came in time."""
        came = self.running.news.wait(timeout_seconds)
        self.running.news.clear()
        return came

    def pause(self, seconds: float) -> None:
        """Wait, unless the process drains or the owner cancels."""
        ends = time.monotonic() + seconds  # the wall clock may be set back meanwhile
        while (left := ends - time.monotonic()) > 0:
            self.leave_if_told()
            self.await_news(left)
        self.leave_if_told()

    def leave_if_told(self) -> None:
        """Go no further where the process drains or the owner has canceled.

        Raises:
            Leave: with what that comes to.
        """
        self.leave_if_draining()
        if self.running.canceled:
            raise Leave(self.canceled())

    def leave_if_draining(self) -> None:
        """Go no further where others take over: the process is on its way out, or the generation was taken from it.

        Raises:
            Leave: with what that comes to.
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
        """The result of a generation its owner has canceled."""
        attempts: Sequence[Attempt] = self.record.attempts
        if self.prediction_id:
            attempts = self.attempts(PredictionCanceled("canceled by its owner"))
        return self.settle(State.CANCELED, (), attempts, error="canceled")

    def settle(
        self, state: State, files: tuple[OutputFile, ...], attempts: Sequence[Attempt], *, error: str | None = None
    ) -> Outcome:
        """Write the one result."""
        record, request = self.record, self.record.request
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
        settled = self.context.jobs.settle(record, state, result, self._notice_of(record, result))
        if settled is None:
            return SteppedAside()
        self.log.info("settled", state=state.value, cost_usd=result.cost_usd)
        return Done(result, settled)
