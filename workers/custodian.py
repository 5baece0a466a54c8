"""The custodian: one thread a worker process that lets no generation be forgotten.

It takes over from dead processes. Their predictions go on the watcher at once, so their slots are freed though every
task thread waits; only the saving, or the next attempt, needs one, and goes to the head of the queue.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from replibatch.errors import AttemptFailure
from replibatch.ledger import Message, Record
from replibatch.limits import Standing, Ticket
from replibatch.messages import capacity_for, publish, queue_lists
from replibatch.reconciler import Unsettled
from replibatch.replicate_api import Prediction
from replibatch.routing import inputs_for
from replibatch.scripts import run_together
from replibatch.workshop import Workshop

log = structlog.get_logger(__name__)


class Custodian:
    """Looks after what this process answers for, and what nobody does.

    Args:
        shop: the process's workshop.
        app: where messages are published.
    """

    def __init__(self, shop: Workshop, app: Celery) -> None:
        self._shop = shop
        self._app = app
        self._looked_after: dict[str, Record] = {}  # taken over; no thread of this process works on them
        self._strangers: set[str] = set()
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="custodian", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is looked after stays in this process's custody, to be given back."""
        self._stopping.set()
        self._jobs.put(lambda: None)
        self._thread.join(5)

    def _run(self) -> None:
        rounds_at = 0.0
        while not self._stopping.is_set():
            try:
                if time.monotonic() >= rounds_at:
                    rounds_at = time.monotonic() + self._shop.gatekeeper.beat_seconds
                    self._make_rounds()
                self._jobs.get(timeout=max(0.0, rounds_at - time.monotonic()))()
            except queue.Empty:
                continue
            except (RedisError, OperationalError) as error:
                log.warning("redis is away", error=str(error))
            except Exception:  # without its custodian a process would forget what it answers for
                log.exception("unexpected")

    def _soon(self, record: Record, step: Callable[[], None]) -> None:
        """Take a step for what is looked after, in the custodian's thread; if it fails, a stranger is picked up."""

        def job() -> None:
            try:
                step()
            except Exception:
                self._looked_after.pop(record.id, None)
                raise

        self._jobs.put(job)

    def _make_rounds(self) -> None:
        shop = self._shop
        if shop.gatekeeper.draining:
            return
        shop.ledger.capacity = capacity_for(shop.gatekeeper.max_concurrent)
        self._pass_on_cancels()
        self._find_strangers()
        self._publish(shop.ledger.lost(queue_lists(shop.settings), shop.settings.lease_seconds))
        for batch in shop.batches.feeding():
            self._publish(shop.batches.top_up(batch))
        for process in shop.ledger.other_custodians():
            if process == "" or (shop.gatekeeper.is_steady and not shop.gate.alive(process)):
                self._take_over(process)

    def _pass_on_cancels(self) -> None:
        for generation_id in self._shop.ledger.to_cancel():
            record = self._looked_after.get(generation_id)
            if running := self._shop.running.get(generation_id):
                running.canceled = True
                running.news.set()
            elif record and record.prediction:
                try:
                    canceled = self._shop.api.cancel(record.prediction)
                except AttemptFailure as failure:
                    log.warning("could not cancel", generation=generation_id, error=str(failure))
                    continue
                if canceled.is_over:
                    self._shop.watcher.forget(canceled.id)
                    self._over(record, canceled)

    def _find_strangers(self) -> None:
        """What this process answers for and neither works on nor looks after, in two rounds running: pick it up."""
        known = self._shop.running.keys() | self._looked_after.keys()
        strangers = self._shop.ledger.custody() - known
        for generation_id in strangers & self._strangers:
            if record := self._shop.ledger.record(generation_id):
                self._look_after(record)
        self._strangers = strangers

    def _take_over(self, process: str) -> None:
        while records := self._shop.ledger.take_over(process):
            log.warning("taken over", generations=len(records), from_process=process or "one that left")
            for record in records:
                self._look_after(record)

    def _look_after(self, record: Record) -> None:
        """Watch its prediction, settle its lost create, or put it back to the queue."""
        standing = self._shop.gate.adopt(record.attempt_key, record.fence, record.prediction)
        if record.prediction:
            self._watch(record, record.prediction)
        elif standing in (Standing.CLAIMED, Standing.CREATED):
            self._reconcile(record)
        else:
            # It lines up anew: a place that no thread of this process waits at would only hold up the line.
            run_together(self._shop.redis, self._shop.gate.released(_ticket(record), 0.0))
            self._requeue(record)

    def _watch(self, record: Record, prediction_id: str) -> None:
        model = self._shop.models_of(record)[record.model]
        self._looked_after[record.id] = replace(record, prediction=prediction_id)

        def on_end(ended: Prediction) -> None:
            self._soon(record, lambda: self._over(record, ended))

        self._shop.watcher.watch(prediction_id, model.name, model.typical_seconds, on_end)

    def _over(self, record: Record, ended: Prediction) -> None:
        """Free the slot of a prediction that has ended; saving it, or the next attempt, is a task's work."""
        model = self._shop.models_of(record)[record.model]
        charged = ended.status in ("succeeded", "canceled")
        cost_usd = model.cost_usd(inputs_for(model, record.request)[0]) if charged else 0.0
        run_together(self._shop.redis, self._shop.gate.released(_ticket(record), cost_usd))
        self._requeue(record)

    def _reconcile(self, record: Record) -> None:
        shop = self._shop
        model = shop.models_of(record)[record.model]
        safety_off = shop.settings.fallback_safety_off and record.model != record.request.model
        inputs = shop.uploads.with_urls(inputs_for(model, record.request, safety_off=safety_off)[0])
        self._looked_after[record.id] = record

        def claim(prediction: Prediction) -> bool:
            created = shop.ledger.created(record, prediction.id)
            answer, _ = run_together(shop.redis, created, shop.gate.created(_ticket(record), prediction.id))
            return bool(answer == "ok")

        def absent() -> None:
            ticket = _ticket(record)
            run_together(shop.redis, shop.gate.refused(ticket), shop.gate.released(ticket, 0.0))
            self._requeue(record)

        shop.reconciler.submit(
            Unsettled(
                record.attempt_key,
                model.name,
                inputs,
                claim,
                lambda prediction: self._soon(record, lambda: self._watch(record, prediction.id)),
                lambda: self._soon(record, absent),
                sent_at=record.started_seconds,
            )
        )

    def _requeue(self, record: Record) -> None:
        self._looked_after.pop(record.id, None)
        if message := self._shop.ledger.requeue(record):
            self._publish([message])

    def _publish(self, messages: list[Message]) -> None:
        if messages:
            self._shop.ledger.published(publish(self._app, messages))


def _ticket(record: Record) -> Ticket:
    return Ticket(record.attempt_key, record.fence, 0.0, record.batch, record.priority)
