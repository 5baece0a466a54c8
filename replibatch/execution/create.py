"""The first half of an attempt: through the limiter to a prediction, created once whatever happens."""

from __future__ import annotations

import time
from typing import Any

from replibatch.errors import (
    AccountStopped,
    AttemptFailure,
    MaybeCreated,
    NotCreated,
    OverPrice,
    Throttled,
    TokenRefused,
)
from replibatch.execution.outcomes import Leave, Left, Outcome, SteppedAside
from replibatch.execution.reconcile import Unsettled, fingerprint
from replibatch.execution.secret_inputs import check_secrets, secrets_of
from replibatch.execution.work import Work
from replibatch.jobs.holds import BUDGET, PAUSED, STOPPED
from replibatch.limits import Standing
from replibatch.replicate_api import Prediction
from replibatch.requests import State


def create(work: Work) -> Prediction:
    """Pass the limiter and create the prediction, or find the one whose reply was lost.

    Raises:
        AttemptFailure: it was not created.
        Leave: the attempt ends here.
    """
    context = work.context
    _check(work)
    work.pause(work.record.pause_seconds)
    try:
        inputs = work.sent_inputs = _with_files(work)
    except AccountStopped as stop:
        raise Leave(_stopped(work, stop)) from stop
    secrets = secrets_of(work.model, work.inputs)
    # What is written down to be recognised by holds no secret: the account's list never shows one.
    sent = fingerprint(work.model.name, {name: value for name, value in inputs.items() if name not in secrets})
    while True:
        standing = context.waiting_room.acquire(work.ticket)
        if standing in (Standing.UNSETTLED, Standing.CREATED):  # taken over before its prediction was recorded
            return _reconcile(work, work.record.sent)
        if standing != Standing.CLAIMED:
            raise Leave(_turned_away(work, standing))
        if work.running.canceled or context.waiting_room.draining:
            work.limiter(context.limiter.released(work.ticket, 0.0))
            work.leave_if_told()
        if (intent := context.intend(work.record, sent)) != "ok":
            work.limiter(context.limiter.released(work.ticket, 0.0))
            raise Leave(_not_sent(work, intent))
        work.began = time.monotonic()
        try:
            prediction = context.api.create(
                work.model.address, inputs | secrets, context.settings.prediction_timeout_seconds
            )
        except Throttled as failure:
            work.log.info("throttled", retry_after_seconds=failure.retry_after_seconds)
            work.limiter(context.limiter.throttled(work.ticket, failure.retry_after_seconds))
        except MaybeCreated as failure:
            work.log.warning("the reply to a create was lost", error=work.cleaned(str(failure)))
            return _reconcile(work, sent)
        except AccountStopped as stop:
            work.limiter(context.limiter.refused(work.ticket))
            raise Leave(_stopped(work, stop)) from stop
        except AttemptFailure:
            work.limiter(context.limiter.refused(work.ticket))
            raise
        else:
            return prediction if _claim(work, prediction) else _reconcile(work, sent)


def _check(work: Work) -> None:
    """See that nothing is created that nobody can mean, or that costs more than the request allows.

    Raises:
        RequestError: an amount, or a secret input, that cannot be sent.
        OverPrice: it could cost too much.
    """
    if work.quote.refusal is not None:
        raise work.quote.refusal
    most_usd, allowed_usd = work.quote.most_usd, work.record.request.max_price_usd
    if most_usd is not None and allowed_usd is not None and most_usd > allowed_usd:
        raise OverPrice(
            f"{work.model.name} could cost ${most_usd:g}; allowed: at most max_price_usd, ${allowed_usd:g}"
        )
    check_secrets(work.model, work.inputs)


def _with_files(work: Work) -> dict[str, Any]:
    """The inputs with their files as the model takes them: addresses of the files API, or data URIs."""
    uploads = work.context.uploads
    wants_data = work.model.data_uris or work.context.learned.wants_data_uris(work.model.name)
    return uploads.with_data(work.inputs) if wants_data else uploads.with_urls(work.inputs)


def _not_sent(work: Work, why: str) -> Outcome:
    """Nothing must be created any more: its owner has said so, or it is another's, as this process stood still."""
    if why == "canceled":
        return work.canceled()
    if why == "paused":
        return Left("paused", work.context.jobs.put_back(work.record, PAUSED))
    return SteppedAside()


def _claim(work: Work, prediction: Prediction) -> bool:
    """Make the prediction this attempt's; False where a twin of equal input has claimed it already.

    Where the record was lost with Redis' data, the attempt goes on: nobody else would see its prediction end.
    """
    answer = work.context.claim(work.record, work.ticket, prediction.id)
    if answer == "fenced":
        raise Leave(SteppedAside())
    if answer == "twin":
        return False
    work.has_created(prediction.id)
    work.log.info("created")
    return True


def _reconcile(work: Work, sent: str | None) -> Prediction:
    """Find out what became of the create whose reply was lost, by what it is recognised by."""
    found: list[Prediction | None] = []

    def settled(prediction: Prediction | None) -> None:
        found.append(prediction)
        work.running.news.set()

    def claim(prediction: Prediction) -> bool:
        try:
            return _claim(work, prediction)
        except Leave:
            return False

    work.context.reconciler.submit(
        Unsettled(
            work.record.attempt_key,
            work.model.name,
            sent,
            claim,
            settled,
            lambda: settled(None),
            lambda: work.running.canceled,
            sent_at=work.record.started_at,
        )
    )
    while not found:
        work.await_news()
        if not found:
            work.leave_if_draining()
    if found[0] is None:
        work.limiter(work.context.limiter.refused(work.ticket), work.context.limiter.released(work.ticket, 0.0))
        raise NotCreated("the create never reached Replicate")
    return found[0]


def _stopped(work: Work, stop: AccountStopped) -> Outcome:
    """Replicate accepts nothing from this worker, or nothing from this account: then the limiter will not either."""
    if isinstance(stop, TokenRefused):
        if not work.context.limiter.status().get("stopped"):
            return Left("handed over: Replicate does not accept this worker's token")
    else:
        work.context.limiter.stop(stop.told())
    return _turned_away(work, Standing.STOPPED)


def _turned_away(work: Work, standing: Standing) -> Outcome:
    """The limiter will not let it through."""
    if standing == Standing.WITHDRAWN:
        work.leave_if_told()
    if standing not in (Standing.STOPPED, Standing.UNAFFORDABLE):
        return SteppedAside()
    stopped = standing == Standing.STOPPED
    why = work.context.limiter.status().get("stopped") if stopped else "not started: it would exceed the budget"
    if why is None:
        return Left("the account goes on")  # the takeover thread brings it back
    if work.record.batch and (stopped or not work.record.attempts):
        held = f"{STOPPED}{why}" if stopped else BUDGET
        return Left(why, work.context.jobs.put_back(work.record, held))
    return work.settle(State.FAILED, (), work.record.attempts, error=why)
