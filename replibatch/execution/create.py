"""The first half of an attempt: through the limiter to a prediction, created once whatever happens."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from replibatch.errors import AccountStopped, ApiUnreachable, AttemptFailure, MaybeCreated, NotCreated, Throttled
from replibatch.execution import followup, outages, steps
from replibatch.execution.echoes import Sent, fingerprint
from replibatch.execution.outcomes import Leave, Left, SteppedAside
from replibatch.execution.reconcile import Lost
from replibatch.execution.secret_inputs import check_secrets, secrets_of
from replibatch.jobs.holds import UNFOLLOWED
from replibatch.limits import Standing
from replibatch.redisdb.scripts import run_together
from replibatch.replicate_api import Prediction

if TYPE_CHECKING:
    from replibatch.execution.attempt import Work


def create(work: Work) -> Prediction:
    """Pass the limiter and create the prediction, or find it where the reply was lost.

    Raises:
        AttemptFailure: it was not created.
        Leave: the attempt ends here.
    """
    context, record = work.context, work.record
    work.quote.check(record.request.max_price_usd)
    check_secrets(work.model, work.inputs, work.context.settings.secret_variables)
    if not record.has_begun and not context.wants(record.batch):
        raise Leave(Left(UNFOLLOWED, context.jobs.put_back_step(record, UNFOLLOWED)))
    if record.pause_seconds:
        work.pause(record.pause_seconds)
    inputs, secrets, sent = _inputs(work)
    while True:
        ticket = work.ticket
        standing = context.waiting_room.acquire(ticket)
        if standing == Standing.OUT:
            if outcome := followup.gone_on(work):
                raise Leave(outcome)
            continue
        if standing in (Standing.UNSETTLED, Standing.CREATED):  # taken over before its prediction was recorded
            sent = replace(sent, fingerprint=record.sent)
            return _find_lost(work, Lost(record, ticket, sent, record.sent_at or record.started_at))
        if standing != Standing.CLAIMED:
            raise Leave(followup.turned_away(work, standing))
        if work.running.canceled or context.waiting_room.draining:
            context.limiter.release(ticket)
            work.leave_if_over()
        confirmed_at = time.monotonic()  # from here on the create is sent only if the record is surely still ours
        if (intent := context.jobs.intend(record, str(sent.fingerprint))) != "ok":
            context.limiter.release(ticket)
            raise Leave(followup.not_sent(work, intent))
        work.began = time.monotonic()
        lost = Lost(record, ticket, sent, confirmed_at)
        if prediction := _send(work, inputs | secrets, lost):
            return prediction


def _send(work: Work, inputs: dict[str, Any], lost: Lost) -> Prediction | None:
    """Send the create; its prediction, or None where nothing was created, and that says nothing of the item.

    Raises:
        AttemptFailure: nothing was created.
        Leave: the attempt ends here.
    """
    context, ticket, timeout_seconds = work.context, work.ticket, work.context.settings.prediction_timeout_seconds
    sent_at = lost.sent_at or time.monotonic()
    try:
        prediction = context.api.create(
            work.model.address,
            inputs,
            timeout_seconds,
            may_send=lambda: context.waiting_room.heartbeat.lived_since(sent_at),
        )
    except ApiUnreachable as failure:
        outages.hold(work, failure)
        return None
    except Throttled as failure:
        work.log.info("throttled", retry_after_seconds=failure.retry_after_seconds)
        run_together(context.redis, context.limiter.throttled_step(ticket, failure.retry_after_seconds))
        return None
    except MaybeCreated as failure:
        work.log.warning("the reply to a create was lost", error=work.cleaned(str(failure)))
        is_of_all = outages.is_of_all(work, failure)
        try:
            return _find_lost(work, lost)
        except NotCreated:
            if not is_of_all:
                raise
            return None
    except AccountStopped as stop:
        run_together(context.redis, context.limiter.refused_step(ticket))
        raise Leave(followup.stopped(work, stop)) from stop
    except AttemptFailure:
        run_together(context.redis, context.limiter.refused_step(ticket))
        raise
    if not _claim(work, prediction):
        return _find_lost(work, lost)
    context.echoes.learn(lost.sent, prediction)
    return prediction


def _inputs(work: Work) -> tuple[dict[str, Any], dict[str, str], Sent]:
    """The inputs with their files as the model takes them; the secret ones; and both as a row may show them."""
    context = work.context
    wants_data = work.model.data_uris or context.learned.wants_data_uris(work.model.name)
    work.inputs = steps.with_outputs(work, as_addresses=not wants_data)
    place_files = context.uploads.with_data if wants_data else context.uploads.with_urls
    inputs: dict[str, Any] | None = None
    while inputs is None:
        try:
            inputs = place_files(work.inputs)
        except ApiUnreachable as failure:
            outages.pause_for_upload(work, failure)
        except AccountStopped as stop:
            raise Leave(followup.stopped(work, stop)) from stop
    work.sent_inputs = inputs
    secrets = secrets_of(work.model, work.inputs)
    # The fingerprint holds no secret: the account's list never shows one.
    shown = {name: value for name, value in inputs.items() if name not in secrets}
    sent = Sent(work.model.address, shown, fingerprint(work.model.address, shown), frozenset(secrets))
    return inputs, secrets, sent


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


def _find_lost(work: Work, lost: Lost) -> Prediction:
    """Find the prediction of a create after its reply was lost.

    Raises:
        NotCreated: it never reached Replicate.
    """
    work.context.reconciler.submit(lost, tell=work.running.wake)
    while lost.is_open:
        work.leave_if_draining()
        work.await_mail()
    if lost.found is not None:
        work.has_created(lost.found.id)
        return lost.found
    work.context.not_created(work.ticket)
    raise NotCreated("the create never reached Replicate")
