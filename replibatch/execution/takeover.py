"""The takeover thread: one thread a worker process that lets no generation be forgotten.

It takes over from dead processes. Their predictions go on the watcher at once, so their slots are freed even while
every task thread waits. Saving, or the next attempt, needs a task thread: those go to the head of the queue.

Its own thread waits for Redis alone; cancels at Replicate have threads of their own, or a slow answer would hold up
every takeover.
"""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass, replace
from functools import partial

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from replibatch.broker.publish import call_linked, publish, queue_lists
from replibatch.execution import metrics
from replibatch.execution.context import CANCEL_AGAIN_SECONDS, GRACE_SECONDS, OVERDUE_SECONDS, WorkerContext
from replibatch.execution.echoes import Sent
from replibatch.execution.pricing import Quote
from replibatch.execution.reconcile import Lost
from replibatch.execution.secret_inputs import secrets_of
from replibatch.jobs import Record, capacity_for
from replibatch.limits import Standing, Ticket
from replibatch.redisdb.loop import Loop
from replibatch.redisdb.scripts import run_together
from replibatch.replicate_api import Prediction
from replibatch.routing import inputs_for

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Ended:
    """A prediction that this thread handles is over."""

    record: Record
    prediction: Prediction
    canceled: bool = False  # seen by the answer to a cancel, not by the watcher


class Takeover:
    """Handles the generations of this process that no thread works on, and those of dead processes.

    Args:
        context: the process's context.
        app: where messages are published.
    """

    def __init__(self, context: WorkerContext, app: Celery) -> None:
        self._context = context
        self._app = app
        self._looked_after: dict[str, Record] = {}  # by id; no thread of this process works on them
        self._orphans: set[str] = set()
        self._rounds_at = 0.0
        self._overdue_at = 0.0
        self._mail: queue.SimpleQueue[_Ended | Lost | None] = queue.SimpleQueue()
        self._loop = Loop("takeover", self._step, wake=partial(self._mail.put, None), away_seconds=0.0)

    def start(self) -> None:
        """Begin."""
        self._loop.start()

    def stop(self) -> None:
        """End; the generations it handles stay in this process's custody, to be given back."""
        self._loop.stop(5)

    def _step(self) -> float:
        """Make the rounds where they are due; else read one mail."""
        if time.monotonic() >= self._rounds_at:
            self._rounds_at = time.monotonic() + self._context.waiting_room.beat_seconds
            self._make_rounds()
        try:
            mail = self._mail.get(timeout=max(0.0, self._rounds_at - time.monotonic()))
        except queue.Empty:
            return 0.0
        if mail is not None:
            self._read(mail)
        return 0.0

    def _read(self, mail: _Ended | Lost) -> None:
        """Act on one mail; if that fails, the generation is let go, and picked up as an orphan."""
        try:
            match mail:
                case _Ended(canceled=True) if self._looked_after.get(mail.record.id) is not mail.record:
                    pass  # the watcher saw its end first
                case _Ended(record, prediction):
                    self._context.watcher.forget(prediction.id)
                    self._over(record, prediction)
                case Lost(found=None):
                    self._context.not_created(mail.ticket)
                    self._requeue(mail.record)
                case Lost(found=Prediction() as found):
                    self._watch(mail.record, found.id)
        except Exception:
            self._let_go(mail.record)
            raise

    def _make_rounds(self) -> None:
        context = self._context
        if context.waiting_room.draining:
            return
        context.jobs.capacity = capacity_for(context.waiting_room.max_concurrent)
        for duty in (
            self._pass_on_cancels,
            self._find_orphans,
            self._take_over_from_the_dead,
            self._publish_what_was_lost,
            context.batches.tidy,
            self._feed,
        ):
            try:
                duty()
            except (RedisConnectionError, RedisTimeoutError, OperationalError):
                raise
            except Exception:  # a duty that fails keeps no other from being done
                log.exception("unexpected")

    def _publish_what_was_lost(self) -> None:
        jobs, settings = self._context.jobs, self._context.settings
        publish(self._app, jobs, jobs.lost(queue_lists(settings), settings.lease_seconds))
        call_linked(self._app, jobs, jobs.owed(settings.lease_seconds))

    def _feed(self) -> None:
        """Feed the batches; a worker that serves all lists goes on with those that a command's own has left."""
        context = self._context
        if context.serves_all_lists:
            for batch in context.batches.unfollowed():
                publish(self._app, context.jobs, context.batches.hold(batch, ""))
        for batch in filter(self._context.wants, self._context.batches.feeding()):
            publish(self._app, self._context.jobs, self._context.batches.top_up(batch))

    def _take_over_from_the_dead(self) -> None:
        context = self._context
        for process in context.jobs.other_holders():
            if process == "" or (context.waiting_room.heartbeat.is_steady and not context.limiter.alive(process)):
                self._take_over(process)

    def _pass_on_cancels(self) -> None:
        for generation_id in self._context.jobs.to_cancel():
            record = self._looked_after.get(generation_id)
            if running := self._context.running.get(generation_id):
                running.cancel()
                self._context.waiting_room.withdraw(running.attempt_key)
            elif record and record.prediction_id:
                self._cancel(record, record.prediction_id)
        self._cancel_overdue()

    def _cancel_overdue(self) -> None:
        """Cancel predictions that outlived their deadline at Replicate, and let go of those that do not end."""
        if time.monotonic() < self._overdue_at:
            return
        self._overdue_at = time.monotonic() + CANCEL_AGAIN_SECONDS
        late = time.monotonic() - self._context.settings.prediction_timeout_seconds
        for record in list(self._looked_after.values()):
            if not record.prediction_id or not record.created_at or record.created_at > late - OVERDUE_SECONDS:
                continue
            if record.created_at > late - GRACE_SECONDS:
                self._cancel(record, record.prediction_id, overdue=True)
            else:  # the task that takes it ends the attempt; the slot stays held
                self._context.look_for_end(record.prediction_id, self._context.models_of(record)[record.model])
                self._requeue(record)

    def _cancel(self, record: Record, prediction_id: str, *, overdue: bool = False) -> None:
        def tell(ended: Prediction) -> None:
            self._mail.put(_Ended(record, ended, canceled=True))

        self._context.end_soon(prediction_id, overdue=overdue, tell=tell)

    def _find_orphans(self) -> None:
        """Pick up generations in this process's custody that, in two rounds, it neither works on nor handles here."""
        known = self._context.running.keys() | self._looked_after.keys()
        orphans = self._context.jobs.custody() - known
        for generation_id in orphans & self._orphans:
            if record := self._context.jobs.record(generation_id):
                self._pick_up(record)
        self._orphans = orphans

    def _take_over(self, process: str) -> None:
        while records := self._context.jobs.take_over(process):
            log.warning("taken over", generations=len(records), from_process=process or "one that left")
            metrics.TAKEN_OVER.inc(len(records))
            for record in records:
                self._pick_up(record)

    def _pick_up(self, record: Record) -> None:
        """Handle one generation. If that fails, the others go on, and this one is tried again as an orphan."""
        try:
            self._look_after(record)
        except (RedisError, OperationalError):
            raise
        except Exception:
            log.exception("could not be handled", generation=record.id)

    def _look_after(self, record: Record) -> None:
        """Watch its prediction, settle its lost create, or put it back to the queue."""
        standing = self._context.limiter.adopt(self._ticket(record), record.prediction_id)
        if record.prediction_id:
            self._watch(record, record.prediction_id)
        elif standing in (Standing.CLAIMED, Standing.CREATED):
            self._reconcile(record)
        else:
            # It queues anew: a place in the line without a waiting thread would only hold up the others.
            self._context.limiter.release(self._ticket(record))
            self._requeue(record)

    def _watch(self, record: Record, prediction_id: str) -> None:
        model = self._context.models_of(record)[record.model]
        record = replace(record, prediction_id=prediction_id, created_at=record.created_at or time.monotonic())
        self._looked_after[record.id] = record

        def on_end(ended: Prediction) -> None:
            self._mail.put(_Ended(record, ended))

        self._context.watcher.watch(prediction_id, model.name, model.typical_seconds, on_end)

    def _over(self, record: Record, ended: Prediction) -> None:
        """Free the slot of a prediction that has ended; a task saves it, or makes the next attempt."""
        ticket = self._ticket(record)
        cost_usd = self._quote(record).booked_usd(ended)
        step = self._context.limiter.released_step(ticket, cost_usd, succeeded=ended.status == "succeeded")
        run_together(self._context.redis, step)
        self._requeue(record, paid_usd=cost_usd)

    def _reconcile(self, record: Record) -> None:
        self._looked_after[record.id] = record
        model = self._context.models_of(record)[record.model]
        inputs, _ = inputs_for(model, record.request)
        secrets = frozenset(secrets_of(model, inputs))
        sent = Sent(model.address, inputs, record.sent, secrets)
        lost = Lost(record, self._ticket(record), sent, record.sent_at or record.started_at)
        self._context.reconciler.submit(lost, tell=partial(self._mail.put, lost))

    def _requeue(self, record: Record, *, paid_usd: float = 0.0) -> None:
        self._let_go(record)
        if message := self._context.jobs.requeue(record, paid_usd=paid_usd):
            publish(self._app, self._context.jobs, [message])

    def _let_go(self, record: Record) -> None:
        """Stop handling a generation, unless it came back in a later custody."""
        known = self._looked_after.get(record.id)
        if known and known.fence == record.fence:
            del self._looked_after[record.id]

    def _ticket(self, record: Record) -> Ticket:
        """The current attempt's, with its price: a rebuilt state reserves it again."""
        price_usd = self._quote(record).reserved_usd
        return Ticket(record.attempt_key, record.fence, price_usd, record.budget, record.priority, record.model)

    def _quote(self, record: Record) -> Quote:
        model, request = self._context.models_of(record)[record.model], record.request
        return self._context.prices.quote(model, inputs_for(model, request)[0], request.max_price_usd)
