"""What follows an attempt that made nothing: another attempt, the batch held, a placeholder, or the end."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from replibatch.broker.publish import HEAD
from replibatch.errors import (
    AccountStopped,
    AddressRefused,
    AttemptFailure,
    InputDropped,
    InvalidInput,
    ModelMissing,
    NotSaved,
    OutputErased,
    OutputPathError,
    PredictionCanceled,
    PredictionFailed,
    ReplibatchError,
    Stop,
    TokenRefused,
)
from replibatch.execution import outages
from replibatch.execution.decide import GiveUp, NextModel, Retry, Wait, decide, next_model
from replibatch.execution.learned import refuses_addresses
from replibatch.execution.outcomes import Left, Next, Outcome, SteppedAside
from replibatch.jobs import Message
from replibatch.jobs.holds import BUDGET, PAUSED, held_by, is_of_key
from replibatch.limits import Standing
from replibatch.limits.outages import of_model
from replibatch.outputs.save import save_placeholder
from replibatch.requests import Attempt, State
from replibatch.results import MODEL_OUT

if TYPE_CHECKING:
    from replibatch.execution.attempt import Work

THROTTLED_SECONDS = 1.0  # before another try, where a throttled upload named no wait


def after(work: Work, failure: AttemptFailure) -> Outcome:
    """What follows a failed attempt."""
    failure = _for_a_dropped_input(work, failure) or _for_a_refused_address(work, failure) or failure
    record, settings = work.record, work.context.settings
    work.log.info("attempt failed", reason=failure.reason, error=work.cleaned(str(failure)))
    attempts = work.attempts(failure)
    if outages.holds_model(work, failure):
        held = outages.held_attempts(attempts)
        if not work.context.jobs.advance(record, work.model.name, held, 0.0):
            return SteppedAside()
        return Next(Message(record.id, record.attempt + 1, work.model.name, HEAD), f"{failure.reason}: {failure}")
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
    if isinstance(failure, ModelMissing) and (again_seconds := outages.missing_again_seconds(work, attempts)):
        decision = Retry(again_seconds)
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
    return Next(Message(record.id, record.attempt + 1, model, HEAD), f"{failure.reason}: {failure}")


def gone_on(work: Work) -> Outcome | None:
    """The next model's attempt, as this one's model is out and not waited for; None where it is waited for."""
    outage = work.context.limiter.outage(of_model(work.model.name))
    if outage is None:  # it has just ended
        return None
    record, request = work.record, work.record.request
    skipped = Attempt(work.model.name, None, "failed", MODEL_OUT, outage.why, 0.0, 0.0)
    attempts = [*record.attempts, skipped]
    following = None
    if request.fallback:
        references = len(request.references)
        following = next_model(outage.kind, attempts, work.model, work.models, references=references)
    if following is None:
        work.ticket = replace(work.ticket, yields=False)
        return None
    work.log.info("its model is out", why=outage.why, following=following)
    if not work.context.jobs.advance(record, following, attempts, 0.0):
        return SteppedAside()
    return Next(
        Message(record.id, record.attempt + 1, following, HEAD), f"{MODEL_OUT}: {work.model.name} {outage.why}"
    )


def stopped(work: Work, stop: AccountStopped) -> Outcome:
    """Replicate accepts nothing from this worker, or nothing from this account: then the limiter will not either."""
    if isinstance(stop, TokenRefused):
        if not work.context.limiter.status().stop:
            return Left("handed over: Replicate does not accept this worker's token")
    else:
        work.context.limiter.stop(Stop.of(stop))
    return turned_away(work, Standing.STOPPED)


def turned_away(work: Work, standing: Standing) -> Outcome:
    """The limiter will not let it through."""
    if standing == Standing.WITHDRAWN:
        work.leave_if_over()
    if standing not in (Standing.STOPPED, Standing.UNAFFORDABLE):
        return SteppedAside()
    if standing == Standing.STOPPED:
        stop = work.context.limiter.status().stop
        if stop is None:
            return Left("the account goes on")  # the takeover thread brings it back
        why, held, may_be_held = str(stop), held_by(stop), True
    else:
        why, held, may_be_held = (
            "not started: it would exceed the budget",
            BUDGET,
            not (work.record.attempts or is_of_key(work.record.budget)),
        )
    if work.record.batch and may_be_held:
        return Left(why, work.context.jobs.put_back_step(work.record, held))
    return work.settle(State.FAILED, (), work.record.attempts, error=why)


def not_sent(work: Work, why: str) -> Outcome:
    """Nothing must be created any more: its owner has said so, or it is another's, as this process stood still."""
    if why == "canceled":
        return work.canceled()
    if why == "paused":
        return Left("paused", work.context.jobs.put_back_step(work.record, PAUSED))
    return SteppedAside()


def _for_a_dropped_input(work: Work, failure: AttemptFailure) -> AttemptFailure | None:
    """The same failure under its cause, where Replicate had dropped a file that was uploaded for the model."""
    if work.sent_inputs and type(failure) in (PredictionFailed, InvalidInput):
        with suppress(ReplibatchError):  # whether the file is there could not be asked
            if work.context.uploads.dropped(work.inputs, work.sent_inputs):
                return InputDropped(f"an uploaded file was dropped before the model read it: {failure}")
    return None


def _for_a_refused_address(work: Work, failure: AttemptFailure) -> AttemptFailure | None:
    """The same failure under its likely cause: the model does not take addresses of files; a data URI shows it."""
    if was_refused_an_address(work):
        return None
    if type(failure) not in (PredictionFailed, InvalidInput) or not refuses_addresses(str(failure)):
        return None
    if not work.sent_inputs or not work.context.uploads.has_urls(work.inputs, work.sent_inputs):
        return None
    work.context.learned.try_data_uris(work.model.name)
    return AddressRefused(f"the model does not take the address of an uploaded file: {failure}")


def was_refused_an_address(work: Work) -> bool:
    """Whether an earlier attempt on this model has failed so: files then go as data URIs."""
    return any(
        attempt.model == work.model.name and attempt.reason == AddressRefused.reason
        for attempt in work.record.attempts
    )


def _give_up(work: Work, failure: AttemptFailure, attempts: list[Attempt]) -> Outcome:
    """No model is left: a placeholder where one fits, and the chain of reasons."""
    error = "; ".join(f"{attempt.model}: {attempt.message}" for attempt in attempts)
    answer_stands = isinstance(failure, InvalidInput | NotSaved | OutputErased | PredictionCanceled)
    is_last = not work.record.request.then  # a placeholder feeds no step
    if is_last and work.context.settings.placeholder and work.model.kind == "image" and not answer_stands:
        try:
            storage = work.context.storage.within(work.record.request.within)
            placeholder = save_placeholder(key=work.record.request.output, storage=storage)
        except (OSError, OutputPathError) as fault:
            placeholder = None
            work.warnings = [*work.warnings, f"the placeholder could not be saved: {fault}"]
        if placeholder:
            return work.settle(State.PLACEHOLDER, (placeholder,), attempts, error=error)
    return work.settle(State.FAILED, (), attempts, error=error)
