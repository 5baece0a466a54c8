"""The takeover thread: one thread a worker process that lets no generation be forgotten.

It takes over from dead processes. Their predictions go on the watcher at once, so their slots are freed though every
task thread waits; only the saving, or the next attempt, needs one, and goes to the head of the queue.

Its own thread waits for Redis alone; what waits for Replicate has threads of its own, or a slow answer would hold up
every takeover.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from replibatch.broker.publish import call_linked, publish, queue_lists
from replibatch.execution import metrics
from replibatch.execution.context import OVERDUE_SECONDS, WorkerContext
from replibatch.execution.pricing import Quote
from replibatch.execution.reconcile import Unsettled
from replibatch.jobs import Record, capacity_for
from replibatch.limits import Standing, Ticket
from replibatch.redisdb.scripts import run_together
from replibatch.replicate_api import Prediction
from replibatch.routing import inputs_for

CANCELS_AT_ONCE = 4

log = structlog.get_logger(__name__)


class Takeover:
    """Looks after what this process answers for, and what nobody does.

    Args:
        context: the process's context.
        app: where messages are published.
    """

    def __init__(self, context: WorkerContext, app: Celery) -> None:
        self._context = context
        self._app = app
        self._looked_after: dict[str, Record] = {}  # taken over; no thread of this process works on them
        self._strangers: set[str] = set()
        self._overdue_at = 0.0
        self._cancels = ThreadPoolExecutor(CANCELS_AT_ONCE, "cancel")
        self._being_canceled: set[str] = set()  # predictions
        self._steps: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="takeover", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is looked after stays in this process's custody, to be given back."""
        self._stopping.set()
        self._steps.put(lambda: None)
        self._thread.join(5)
        self._cancels.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        rounds_at = 0.0
        while not self._stopping.is_set():
            try:
                if time.monotonic() >= rounds_at:
                    rounds_at = time.monotonic() + self._context.waiting_room.beat_seconds
                    self._make_rounds()
                self._steps.get(timeout=max(0.0, rounds_at - time.monotonic()))()
            except queue.Empty:
                continue
            except (RedisError, OperationalError) as error:
                log.warning("redis is away", error=str(error))
            except Exception:  # without its takeover a process would forget what it answers for
                log.exception("unexpected")

    def _soon(self, record: Record, step: Callable[[], None]) -> None:
        """Take a step for what is looked after, in the takeover thread; if it fails, an orphan is picked up."""

        def job() -> None:
            try:
                step()
            except Exception:
                self._let_go(record)
                raise

        self._steps.put(job)

    def _make_rounds(self) -> None:
        context = self._context
        if context.waiting_room.draining:
            return
        context.jobs.capacity = capacity_for(context.waiting_room.max_concurrent)
        for duty in (
            self._pass_on_cancels,
            self._find_strangers,
            self._take_over_from_the_dead,
            self._publish_what_was_lost,
            context.batches.tidy,
            self._feed,
        ):
            try:
                duty()
            except (RedisConnectionError, RedisTimeoutError, OperationalError):
                raise
            except Exception:  # what is wrong with one keeps the others from nothing
                log.exception("unexpected")

    def _publish_what_was_lost(self) -> None:
        jobs, settings = self._context.jobs, self._context.settings
        publish(self._app, jobs, jobs.lost(queue_lists(settings), settings.lease_seconds))
        call_linked(self._app, jobs, jobs.owed(settings.lease_seconds))

    def _feed(self) -> None:
        for batch in self._context.batches.feeding():
            publish(self._app, self._context.jobs, self._context.batches.top_up(batch))

    def _take_over_from_the_dead(self) -> None:
        context = self._context
        for process in context.jobs.other_custodians():
            if process == "" or (context.waiting_room.heartbeat.is_steady and not context.limiter.alive(process)):
                self._take_over(process)

    def _pass_on_cancels(self) -> None:
        for generation_id in self._context.jobs.to_cancel():
            record = self._looked_after.get(generation_id)
            if running := self._context.running.get(generation_id):
                running.canceled = True
                running.news.set()
                self._context.waiting_room.withdraw(running.attempt_key)
            elif record and record.prediction_id:
                self._cancel(record, record.prediction_id)
        self._cancel_overdue()

    def _cancel_overdue(self) -> None:
        """Cancel what is looked after and has outlived its time at Replicate."""
        if time.monotonic() < self._overdue_at:
            return
        self._overdue_at = time.monotonic() + OVERDUE_SECONDS
        oldest = time.monotonic() - self._context.settings.prediction_timeout_seconds - OVERDUE_SECONDS
        for record in list(self._looked_after.values()):
            if record.prediction_id and record.created_at and record.created_at < oldest:
                self._cancel(record, record.prediction_id, overdue=True)

    def _cancel(self, record: Record, prediction_id: str, *, overdue: bool = False) -> None:
        if prediction_id not in self._being_canceled:
            self._being_canceled.add(prediction_id)
            self._cancels.submit(self._cancel_there, record, prediction_id, overdue=overdue)

    def _cancel_there(self, record: Record, prediction_id: str, *, overdue: bool) -> None:
        """Cancel at Replicate, in a thread of the cancels; what follows is the takeover thread's."""
        canceled: Prediction | None = None
        try:
            canceled = self._context.api.cancel(prediction_id, overdue=overdue)
        except Exception as failure:  # noqa: BLE001  # the next round tries again
            log.warning("could not cancel", generation=record.id, error=str(failure))
        self._soon(record, lambda: self._canceled(record, prediction_id, canceled))

    def _canceled(self, record: Record, prediction_id: str, canceled: Prediction | None) -> None:
        self._being_canceled.discard(prediction_id)
        is_ours = self._looked_after.get(record.id) is record  # else the watcher has seen its end first
        if canceled and canceled.is_over and is_ours:
            self._context.watcher.forget(prediction_id)
            self._over(record, canceled)

    def _find_strangers(self) -> None:
        """What this process answers for and neither works on nor looks after, in two rounds running: pick it up."""
        known = self._context.running.keys() | self._looked_after.keys()
        strangers = self._context.jobs.custody() - known
        for generation_id in strangers & self._strangers:
            if record := self._context.jobs.record(generation_id):
                self._pick_up(record)
        self._strangers = strangers

    def _take_over(self, process: str) -> None:
        while records := self._context.jobs.take_over(process):
            log.warning("taken over", generations=len(records), from_process=process or "one that left")
            metrics.TAKEN_OVER.inc(len(records))
            for record in records:
                self._pick_up(record)

    def _pick_up(self, record: Record) -> None:
        """Look after one. What is wrong with it keeps no others waiting: it is tried again, as a stranger."""
        try:
            self._look_after(record)
        except (RedisError, OperationalError):
            raise
        except Exception:
            log.exception("could not be looked after", generation=record.id)

    def _look_after(self, record: Record) -> None:
        """Watch its prediction, settle its lost create, or put it back to the queue."""
        standing = self._context.limiter.adopt(self._ticket(record), record.prediction_id)
        if record.prediction_id:
            self._watch(record, record.prediction_id)
        elif standing in (Standing.CLAIMED, Standing.CREATED):
            self._reconcile(record)
        else:
            # It lines up anew: a place that no thread of this process waits at would only hold up the line.
            run_together(self._context.redis, self._context.limiter.released(self._ticket(record), 0.0))
            self._requeue(record)

    def _watch(self, record: Record, prediction_id: str) -> None:
        model = self._context.chains.model_of(record)
        created_at = record.created_at or time.monotonic()
        self._looked_after[record.id] = replace(record, prediction_id=prediction_id, created_at=created_at)

        def on_end(ended: Prediction) -> None:
            self._soon(record, lambda: self._over(record, ended))

        self._context.watcher.watch(prediction_id, model.name, model.typical_seconds, on_end)

    def _over(self, record: Record, ended: Prediction) -> None:
        """Free the slot of a prediction that has ended; saving it, or the next attempt, is a task's work."""
        ticket = self._ticket(record)
        cost_usd = self._quote(record).booked_usd(ended)
        run_together(self._context.redis, self._context.limiter.released(ticket, cost_usd))
        self._requeue(record, paid_usd=cost_usd)

    def _reconcile(self, record: Record) -> None:
        context = self._context
        model = context.chains.model_of(record)
        self._looked_after[record.id] = record

        def claim(prediction: Prediction) -> bool:
            return context.claim(record, self._ticket(record), prediction.id) in ("ok", "gone")

        def absent() -> None:
            ticket = self._ticket(record)
            run_together(context.redis, context.limiter.refused(ticket), context.limiter.released(ticket, 0.0))
            self._requeue(record)

        context.reconciler.submit(
            Unsettled(
                record.attempt_key,
                model.name,
                record.sent,
                claim,
                lambda prediction: self._soon(record, lambda: self._watch(record, prediction.id)),
                lambda: self._soon(record, absent),
                lambda: record.id in context.jobs.to_cancel(),
                sent_at=record.started_at,
            )
        )

    def _requeue(self, record: Record, *, paid_usd: float = 0.0) -> None:
        self._let_go(record)
        if message := self._context.jobs.requeue(record, paid_usd=paid_usd):
            publish(self._app, self._context.jobs, [message])

    def _let_go(self, record: Record) -> None:
        """Look after it no more, unless it came back in a later custody."""
        known = self._looked_after.get(record.id)
        if known and known.fence == record.fence:
            del self._looked_after[record.id]

    def _ticket(self, record: Record) -> Ticket:
        """With its price: it is reserved again should the account's state be lost."""
        price_usd = self._quote(record).reserved_usd
        return Ticket(record.attempt_key, record.fence, price_usd, record.purse, record.priority)

    def _quote(self, record: Record) -> Quote:
        model, request = self._context.chains.model_of(record), record.request
        return self._context.prices.quote(model, inputs_for(model, request)[0], request.max_price_usd)
