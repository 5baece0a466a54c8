"""The end of an attempt's prediction, awaited within bounds, whatever Replicate answers.

deadline            Replicate ends it itself (`Cancel-After`)
+ OVERDUE_SECONDS   it is canceled from here, again and again
+ GRACE_SECONDS     the attempt is over: timed out. The slot stays held, and the watcher goes on polling for its end,
                    which frees the slot and is booked; the limiter gives the slot up after its own deadline
"""

from __future__ import annotations

import time
from queue import Empty
from typing import TYPE_CHECKING

from replibatch.errors import PredictionTimedOut
from replibatch.execution.context import CANCEL_AGAIN_SECONDS, GRACE_SECONDS, OVERDUE_SECONDS
from replibatch.execution.outcomes import Leave
from replibatch.replicate_api import Prediction

if TYPE_CHECKING:
    from replibatch.execution.attempt import Work

CANCEL_GRACE_SECONDS = 15.0  # after its owner's cancel a generation is over, though its prediction runs on
LATE_SECONDS = 5.0  # for a prediction that was taken over past its time: it may have ended long ago


def await_end(work: Work, prediction: Prediction | str) -> Prediction:
    """Wait until the prediction is over, give its slot back, and raise if it failed.

    Raises:
        AttemptFailure: it gave nothing, or is not over in time.
        Leave: its owner has canceled, or another process goes on with it.
    """
    context, ticket, timeout_seconds = work.context, work.ticket, work.context.settings.prediction_timeout_seconds
    if work.record.prediction_id:
        context.limiter.adopt(ticket, work.record.prediction_id)
    prediction_id = prediction if isinstance(prediction, str) else prediction.id
    context.tickets[prediction_id] = ticket, work.quote
    context.watcher.watch(prediction, work.model.name, work.model.typical_seconds, work.running.mail.put)
    ended: Prediction | None = None
    try:
        ended = _await(work, prediction_id)
    except Leave:
        if not work.running.superseded:  # else another thread watches it
            context.watcher.forget(prediction_id)
            context.tickets.pop(prediction_id, None)
        raise
    if ended is None:
        context.look_for_end(prediction_id, work.model, work.began + timeout_seconds + OVERDUE_SECONDS)
        work.cost_usd = None  # unknown yet
        if work.running.canceled:
            raise Leave(work.canceled())
        late_seconds = time.monotonic() - work.began - timeout_seconds
        raise PredictionTimedOut(
            f"not over {late_seconds:.0f} s after its time-out, though canceled; its slot is held"
        )
    work.cost_usd = work.quote.settled_usd(ended)
    if prediction_id in context.tickets:  # else the watcher saw the end, and freed the slot
        context.watcher.forget(prediction_id)
        context.free_slots([ended])
    if work.running.canceled and (ended.status == "canceled" or ended.data_removed):
        raise Leave(work.canceled())
    lasted_seconds = time.monotonic() - work.began if ended.lasted_seconds is None else ended.lasted_seconds
    if failure := ended.failure(past_deadline=lasted_seconds >= timeout_seconds - 1):
        raise failure
    return ended


def _await(work: Work, prediction_id: str) -> Prediction | None:
    """The prediction once it is over; None where it is not in time."""
    deadline = work.began + work.context.settings.prediction_timeout_seconds
    cancel_at = deadline + OVERDUE_SECONDS
    gives_up_at = max(deadline + GRACE_SECONDS, time.monotonic() + LATE_SECONDS)
    canceled = False
    while (now := time.monotonic()) < gives_up_at:
        if work.running.canceled and not canceled:
            canceled, cancel_at, gives_up_at = True, now, min(gives_up_at, now + CANCEL_GRACE_SECONDS)
        if now >= cancel_at:
            cancel_at = now + CANCEL_AGAIN_SECONDS
            overdue = now >= deadline + OVERDUE_SECONDS
            work.context.end_soon(prediction_id, overdue=overdue, tell=work.running.mail.put)
        try:
            if ended := work.await_mail(max(0.0, min(cancel_at, gives_up_at) - time.monotonic())):
                return ended
        except Empty:
            continue
        work.leave_if_draining()
    return None
