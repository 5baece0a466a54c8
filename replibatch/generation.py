"""One attempt of a generation on one model, from top to bottom. Knows no Celery.

take custody → acquire → create → await the end → save → settle
                                                    └─ failed: the next attempt, a placeholder, or the end
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from replibatch.errors import (
    AccountStopped,
    AttemptFailure,
    InvalidInput,
    MaybeCreated,
    NoOutput,
    NotCreated,
    NotSaved,
    OutputErased,
    PredictionCanceled,
    Throttled,
)
from replibatch.fallback import GiveUp, Retry, decide
from replibatch.ledger import Message, Record
from replibatch.limits import Standing, Ticket
from replibatch.messages import HEAD
from replibatch.outputs.save import save, save_placeholder
from replibatch.reconciler import Unsettled
from replibatch.replicate_api import Prediction
from replibatch.requests import Attempt, BatchResult, OutputFile, State
from replibatch.routing import inputs_for
from replibatch.scripts import Step, run_together
from replibatch.workshop import Running, Workshop

OVERDUE_SECONDS = 15.0  # past its deadline a prediction is canceled here, should Replicate not have done it
SAVE_TRIES = 4

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Done:
    """The generation has its one result; `messages` are the next of its batch, to be published."""

    result: BatchResult
    messages: list[Message]


@dataclass(frozen=True)
class Next:
    """Another attempt follows; its message is to be published."""

    message: Message
    failure: AttemptFailure


@dataclass(frozen=True)
class Left:
    """This process goes no further with it; `epilogue` is to be run once the task has ended."""

    why: str
    epilogue: Step | None = None


@dataclass(frozen=True)
class SteppedAside:
    """The generation is somebody else's, or over."""


Outcome = Done | Next | Left | SteppedAside


class _Leave(Exception):
    """Ends the attempt early with an outcome."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


def generate(
    shop: Workshop,
    generation_id: str,
    attempt: int,
    *,
    on_custody: Callable[[], None],
    announce: Callable[[BatchResult], None],
) -> Outcome:
    """Make one attempt.

    Args:
        shop: the worker process's.
        generation_id: whose.
        attempt: the number of the attempt the message is for.
        on_custody: called once the generation is this process's.
        announce: called with the result just before it is settled.
    """
    running = Running()
    if shop.running.setdefault(generation_id, running) is not running:
        return SteppedAside()
    try:
        record = shop.ledger.take(generation_id, attempt)
        if record is None:
            return SteppedAside()
        on_custody()
        return _Attempt(shop, record, running, announce).run()
    finally:
        del shop.running[generation_id]


class _Attempt:
    """One attempt in this process's custody."""

    def __init__(
        self, shop: Workshop, record: Record, running: Running, announce: Callable[[BatchResult], None]
    ) -> None:
        self._shop = shop
        self._record = record
        self._running = running
        self._announce = announce
        self._models = shop.models_of(record)
        self._model = self._models[record.model]
        safety_off = shop.settings.fallback_safety_off and record.model != record.request.model
        self._inputs, self._warnings = inputs_for(self._model, record.request, safety_off=safety_off)
        self._ticket = Ticket(
            record.attempt_key, record.fence, self._model.cost_usd(self._inputs), record.batch, record.priority
        )
        self._began = time.time()
        self._prediction_id = record.prediction
        self._cost_usd = 0.0
        self._log = log.bind(
            generation=record.id, batch=record.batch or None, model=record.model, attempt=record.attempt
        )

    def run(self) -> Outcome:
        """The attempt, start to finish."""
        try:
            prediction = self._record.prediction or self._create()
            ended = self._await_end(prediction)
            files = self._save(ended)
        except AttemptFailure as failure:
            return self._after(failure)
        except _Leave as leave:
            return leave.outcome
        return self._settle(State.SUCCEEDED, files, [*self._record.attempts, self._attempt_over(None)])

    # -- create ---------------------------------------------------------------------------------------------

    def _create(self) -> Prediction | str:
        """Pass the gate and create the prediction, or find the one whose reply was lost."""
        self._wait(self._record.pause_seconds)
        inputs = self._shop.uploads.with_urls(self._inputs)
        while True:
            standing = self._shop.gatekeeper.acquire(self._ticket)
            if standing == Standing.UNSETTLED:
                return self._reconcile(inputs)
            if standing != Standing.CLAIMED:
                raise _Leave(self._turned_away(standing))
            if self._running.canceled or self._shop.gatekeeper.draining:
                self._gate(self._shop.gate.released(self._ticket, 0.0))
                self._leave_if_told()
            self._began = time.time()
            try:
                prediction = self._shop.api.create(
                    self._model.name, inputs, self._shop.settings.prediction_timeout_seconds
                )
            except Throttled as failure:
                self._log.info("throttled", retry_after_seconds=failure.retry_after_seconds)
                self._gate(self._shop.gate.throttled(self._ticket, failure.retry_after_seconds))
            except MaybeCreated as failure:
                self._log.warning("the reply to a create was lost", error=str(failure))
                return self._reconcile(inputs)
            except AccountStopped as stop:
                self._gate(self._shop.gate.refused(self._ticket, stop=f"{type(stop).__name__}: {stop}"))
                raise _Leave(self._turned_away(Standing.STOPPED)) from stop
            except AttemptFailure:
                self._gate(self._shop.gate.refused(self._ticket))
                raise
            else:
                return prediction if self._claim(prediction) else self._reconcile(inputs)

    def _claim(self, prediction: Prediction) -> bool:
        """Make the prediction this attempt's; False where a twin of equal input has claimed it already."""
        answer, _ = run_together(
            self._shop.redis,
            self._shop.ledger.created(self._record, prediction.id),
            self._shop.gate.created(self._ticket),
        )
        if answer == "fenced":
            raise _Leave(SteppedAside())
        if answer == "ok":
            self._prediction_id = prediction.id
            self._log.info("created", prediction=prediction.id)
        return bool(answer == "ok")

    def _reconcile(self, inputs: dict[str, Any]) -> Prediction:
        """Find out what became of the create whose reply was lost."""
        found: list[Prediction | None] = []

        def settled(prediction: Prediction | None) -> None:
            found.append(prediction)
            self._running.news.set()

        def claim(prediction: Prediction) -> bool:
            try:
                return self._claim(prediction)
            except _Leave:
                return False

        self._shop.reconciler.submit(
            Unsettled(self._record.attempt_key, self._model.name, inputs, claim, settled, lambda: settled(None))
        )
        while not found:
            self._running.news.wait()
            self._running.news.clear()
            if not found and self._shop.gatekeeper.draining:
                raise _Leave(Left("handed over: the worker stops"))
        if found[0] is None:
            self._gate(self._shop.gate.refused(self._ticket), self._shop.gate.released(self._ticket, 0.0))
            raise NotCreated("the create never reached Replicate")
        return found[0]

    def _turned_away(self, standing: Standing) -> Outcome:
        """The gate will not let it through."""
        if standing == Standing.WITHDRAWN:
            self._leave_if_told()
        if standing not in (Standing.STOPPED, Standing.UNAFFORDABLE):
            return SteppedAside()
        stopped = standing == Standing.STOPPED
        why = str(self._shop.gate.status().get("stopped")) if stopped else "not started: it would exceed the budget"
        if self._record.batch:
            held = f"stopped: {why}" if stopped else "budget"
            return Left(why, self._shop.ledger.put_back(self._record, held))
        return self._settle(State.FAILED, (), list(self._record.attempts), error=why)

    # -- wait -----------------------------------------------------------------------------------------------

    def _await_end(self, prediction: Prediction | str) -> Prediction:
        """Wait until the prediction is over, give its slot back, and raise if it failed."""
        if self._record.prediction:
            self._shop.gate.adopt(self._record.attempt_key, self._record.fence)
        began = self._record.created_ms / 1000 if self._record.created_ms else self._began
        deadline = began + self._shop.settings.prediction_timeout_seconds
        prediction_id = prediction if isinstance(prediction, str) else prediction.id
        ends: list[Prediction] = []

        def on_end(ended: Prediction) -> None:
            ends.append(ended)
            self._running.news.set()

        self._shop.watcher.watch(prediction, self._model.name, self._model.typical_seconds, on_end)
        try:
            while not ends:
                overdue = not self._running.news.wait(max(0.1, deadline + OVERDUE_SECONDS - time.time()))
                self._running.news.clear()
                if not ends and self._shop.gatekeeper.draining:
                    raise _Leave(Left("handed over: the worker stops"))
                if not ends and (overdue or self._running.canceled):
                    self._cancel(prediction_id, on_end)
        finally:
            self._shop.watcher.forget(prediction_id)
        ended = ends[0]
        if ended.status in ("succeeded", "canceled"):  # a canceled one is charged for the time it ran
            self._cost_usd = self._ticket.price_usd
        self._gate(self._shop.gate.released(self._ticket, self._cost_usd))
        if self._running.canceled and ended.status == "canceled":
            raise _Leave(self._canceled())
        if failure := ended.failure(past_deadline=time.time() >= deadline):
            raise failure
        return ended

    def _cancel(self, prediction_id: str, on_end: Callable[[Prediction], None]) -> None:
        try:
            canceled = self._shop.api.cancel(prediction_id)
        except AttemptFailure as failure:
            self._log.warning("could not cancel", prediction=prediction_id, error=str(failure))
            self._wait(1.0)
            return
        if canceled.is_over:
            on_end(canceled)

    # -- save and settle ------------------------------------------------------------------------------------

    def _save(self, ended: Prediction) -> tuple[OutputFile, ...]:
        """Bring the output home; what fails is tried again from the finished prediction."""
        shop, key = self._shop, self._record.request.output
        for number in range(1, SAVE_TRIES + 1):
            try:
                files, warnings = save(ended.output, key=key, storage=shop.storage, downloader=shop.downloader)
            except (NoOutput, OutputErased):
                raise
            except (AttemptFailure, OSError) as failure:
                if number == SAVE_TRIES:
                    raise NotSaved(f"the output could not be saved: {failure}") from failure
                self._log.warning("could not save", error=str(failure))
                self._wait(2.0**number / 4)
                ended = shop.api.get(ended.id)
            else:
                self._warnings = [*self._warnings, *warnings]
                return files
        raise AssertionError("unreachable")

    def _after(self, failure: AttemptFailure) -> Outcome:
        """What follows a failed attempt."""
        record, settings = self._record, self._shop.settings
        self._log.info("attempt failed", reason=failure.reason, error=str(failure))
        attempts = [*record.attempts, self._attempt_over(failure)]
        decision = decide(
            failure,
            attempts,
            self._model,
            self._models,
            references=len(record.request.references),
            fallback=record.request.fallback,
            max_retries=settings.max_retries,
        )
        if isinstance(failure, OutputErased) and settings.regenerate_erased:
            decision = Retry(0.0)
        if isinstance(decision, GiveUp):
            return self._give_up(failure, attempts)
        pause_seconds = decision.pause_seconds if isinstance(decision, Retry) else 0.0
        model = self._model.name if isinstance(decision, Retry) else decision.model
        (moved,) = run_together(self._shop.redis, self._shop.ledger.advance(record, model, attempts, pause_seconds))
        if not moved:
            return SteppedAside()
        return Next(Message(record.id, record.attempt + 1, model, HEAD), failure)

    def _give_up(self, failure: AttemptFailure, attempts: list[Attempt]) -> Outcome:
        """No model is left: a placeholder where one fits, and the chain of reasons."""
        error = "; ".join(f"{attempt.model}: {attempt.message}" for attempt in attempts)
        answers_stand = isinstance(failure, InvalidInput | NotSaved | OutputErased | PredictionCanceled)
        if self._shop.settings.placeholder and self._model.kind == "image" and not answers_stand:
            placeholder = save_placeholder(key=self._record.request.output, storage=self._shop.storage)
            if placeholder:
                return self._settle(State.PLACEHOLDER, (placeholder,), attempts, error=error)
        return self._settle(State.FAILED, (), attempts, error=error)

    def _canceled(self) -> Outcome:
        attempts = list(self._record.attempts)
        if self._prediction_id:
            attempts.append(self._attempt_over(PredictionCanceled("canceled by its owner")))
        return self._settle(State.CANCELED, (), attempts, error="canceled")

    def _settle(
        self, state: State, files: tuple[OutputFile, ...], attempts: list[Attempt], *, error: str | None = None
    ) -> Outcome:
        """Write the one result."""
        record, request = self._record, self._record.request
        started = record.started_ms / 1000 if record.started_ms else self._began
        result = BatchResult(
            request_id=request.request_id,
            prompt=request.prompt,
            model_name=request.asked_model,
            model_used=self._model.name if state == State.SUCCEEDED else None,
            success=state == State.SUCCEEDED,
            files=files,
            error=error,
            duration=round(max(0.0, time.time() - started), 3),
            warnings=(*request.warnings, *self._warnings),
            attempts=tuple(attempts),
            cost_usd=round(sum(attempt.cost_usd for attempt in attempts), 6),
            placeholder=state == State.PLACEHOLDER,
            state=state,
            inputs=self._inputs,
        )
        self._announce(result)
        ((settled, messages),) = run_together(self._shop.redis, self._shop.ledger.settle(record, state, result))
        if not settled:
            return SteppedAside()
        self._log.info("settled", state=state.value, cost_usd=result.cost_usd)
        return Done(result, [Message(*message) for message in messages])

    # -- small things ---------------------------------------------------------------------------------------

    def _attempt_over(self, failure: AttemptFailure | None) -> Attempt:
        return Attempt(
            model=self._model.name,
            prediction_id=self._prediction_id,
            outcome="failed" if failure else "succeeded",
            reason=failure.reason if failure else None,
            message=str(failure) if failure else None,
            seconds=round(max(0.0, time.time() - self._began), 3),
            cost_usd=round(self._cost_usd, 6),
        )

    def _wait(self, seconds: float) -> None:
        """Wait, unless the process drains or the owner cancels."""
        ends = time.time() + seconds
        while (left := ends - time.time()) > 0:
            self._leave_if_told()
            self._running.news.wait(left)
            self._running.news.clear()
        self._leave_if_told()

    def _leave_if_told(self) -> None:
        if self._shop.gatekeeper.draining:
            raise _Leave(Left("handed over: the worker stops"))
        if self._running.canceled:
            raise _Leave(self._canceled())

    def _gate(self, *steps: Step) -> None:
        run_together(self._shop.redis, *steps)
