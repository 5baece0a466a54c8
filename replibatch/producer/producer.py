"""A process's way into an account's queue: checks and routes requests, records them, publishes their messages."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from redis import Redis

from replibatch.broker.publish import publish
from replibatch.catalog import Catalog
from replibatch.errors import SettingsError
from replibatch.jobs import Batches, Jobs, Link, Message, capacity_for
from replibatch.limits import Limiter
from replibatch.limits.outages import Outage
from replibatch.limits.process import explicit_limits, process_name
from replibatch.producer.caller import Caller
from replibatch.producer.files import Files
from replibatch.producer.prepare import Preparer
from replibatch.producer.published_inputs import load_catalog
from replibatch.redisdb.connection import connect
from replibatch.requests import BatchRequest, new_id
from replibatch.settings import Settings, load
from replibatch.storage.shared import refuse_another

log = logging.getLogger("replibatch")

if TYPE_CHECKING:
    from celery import Celery

    from replibatch.embedded import EmbeddedWorker

MOST_THREADS = 1000  # of a worker brought along: a limit above is for several workers
STORAGE_SECONDS = 60.0  # how often a process looks whether it shares the workers' storage
LOOK_SECONDS = 1.0  # how often a waiting caller looks whether the account was stopped

_producers: dict[tuple[int, Settings], Producer] = {}
_lock = threading.RLock()


def open_producer(**arguments: Any) -> Producer:
    """This process's producer for the settings as they are now; made once for equal settings.

    Args:
        **arguments: settings by field name that win over environment and `.env`; None counts as not given.

    Raises:
        SettingsError: a setting, or the set-up, is not usable.
    """
    settings = load(**arguments)
    with _lock:
        key = (os.getpid(), settings)
        producer = _producers.get(key)
        if producer is None:
            producer = _producers[key] = Producer(
                settings, token_given=arguments.get("replicate_api_token") is not None
            )
        return producer


class Producer:
    """What a process needs to ask for generations and to read their results.

    Args:
        settings: read now.
        token_given: whether the token came as an argument of a call.
    """

    def __init__(self, settings: Settings, *, token_given: bool = False) -> None:
        self.settings = settings
        self.embedded = settings.redis_url is None
        if token_given and not self.embedded:
            raise SettingsError(
                "replicate_api_token was given, but REPLIBATCH_REDIS_URL names a fleet: its workers use their own"
            )
        self.redis_url = settings.redis_url.get_secret_value() if settings.redis_url else _own_redis(settings)
        self.process = process_name()
        self.redis: Redis = connect(self.redis_url)
        self.limiter = Limiter(self.redis, settings, self.process)
        self.jobs = Jobs(self.redis, settings, self.process)
        self.batches = Batches(self.jobs)
        self.catalog: Catalog = load_catalog(settings, None if self.embedded else self.redis)
        self.files = Files(settings, embedded=self.embedded, check_storage=self.check_storage)
        metadata = settings.metadata if "metadata" in settings.model_fields_set else None
        self.prepare = Preparer(self.catalog, self.files, metadata, local_files=settings.local_files)
        self._limits = explicit_limits(settings)
        self._last_beat = float("-inf")
        self._own_worker: EmbeddedWorker | None = None
        self._last_status = float("-inf")
        self._said: set[str] = set()  # outages
        self._storage_checked = float("-inf")

    @cached_property
    def app(self) -> Celery:
        """The Celery app of the account's queue."""
        from replibatch.broker.app import make_app  # noqa: PLC0415  # a tenth of a second: loaded with the first use

        return make_app(self.settings, self.redis_url)

    def present(self) -> None:
        """Say that this process lives, and the limits it was given, as often as others must hear it."""
        now = time.monotonic()
        if now - self._last_beat > self.settings.lease_seconds / 3:
            beat = self.limiter.heartbeat(self._limits)
            self.jobs.capacity = capacity_for(beat.max_concurrent)
            self._last_beat = now

    def bring_worker(self) -> None:
        """In embedded mode, see that this process's own worker runs; a fleet has its workers elsewhere.

        Raises:
            SettingsError: there is no token for it.
        """
        if not self.embedded:
            return
        if self.settings.replicate_api_token is None:
            raise SettingsError("REPLICATE_API_TOKEN is not set; give it there, in .env, or run `replibatch init`")
        from replibatch import embedded  # noqa: PLC0415  # embedded mode alone needs it

        with _lock:
            if self._own_worker is None or not self._own_worker.alive():
                # It asks Replicate about the token before anything else: an old refusal says nothing about this one.
                self.limiter.resume()
                self.present()  # which learns the limit in force
                threads = min(max(self.jobs.capacity, embedded.DEFAULT_CONCURRENCY), MOST_THREADS)
                self._own_worker = embedded.ensure_worker(self.settings, threads)

    def check_storage(self) -> None:
        """In a fleet, see that files in this process's storage are seen by the workers, and theirs by this process.

        Raises:
            SettingsError: some worker has another storage.
            StorageError: it cannot be read.
        """
        now = time.monotonic()
        if not self.embedded and now - self._storage_checked > STORAGE_SECONDS:
            refuse_another(self.files.storage, self.limiter.status().processes)
            self._storage_checked = now

    def enqueue(
        self, request: BatchRequest, *, fallback: bool = True, link: Link | None = None, priority: int
    ) -> str:
        """Record and publish one job; returns its id. Durable in Redis when this returns."""
        generation_id = self.id_of(request) or new_id()
        prepared = self.prepare(request, generation_id, 0, fallback=fallback, caller=Caller())
        self.present()
        models: dict[str, Any] = {}
        for model in prepared.first_models:
            models |= self.models_from(model)
        if self.jobs.enqueue(generation_id, prepared, models, priority=priority, link=link):
            self.publish([Message(generation_id, 1, prepared.model, priority)])
        return generation_id

    def models_from(self, model: str) -> dict[str, Any]:
        """The models of a chain of fallbacks, by name, as they travel."""
        return {name: each.to_json() for name, each in self.catalog.subset(model).items()}

    def publish(self, messages: Sequence[Message]) -> None:
        """As `messages.publish`; Celery is loaded for the first that there is."""
        if messages:
            publish(self.app, self.jobs, messages)

    def id_of(self, request: BatchRequest) -> str | None:
        """The job's id where the caller gave an idempotency key; None lets it be made up."""
        if not request.idempotent:
            return None
        return "k" + uuid.uuid5(uuid.NAMESPACE_URL, f"{self.limiter.prefix}{request.request_id}").hex

    def raise_if_stopped(self) -> None:
        """Raise what keeps the account, or this process's worker, from working; looks about once a second.

        Raises:
            AccountStopped: the token is refused, or the credit used up.
            ReplibatchError: the embedded worker ended.
        """
        moment = time.monotonic()
        if moment - self._last_status < LOOK_SECONDS:
            return
        self._last_status = moment
        self.present()
        now = self.limiter.status()
        if now.stop:
            raise now.stop.error()
        self._say(now.outages)
        if self._own_worker is not None:
            self._own_worker.check()

    def _say(self, outages: Sequence[Outage]) -> None:
        """Log what is out, once: a call that waits for it goes on by itself."""
        for outage in outages:
            if outage.name not in self._said:
                log.warning("%s; %s", outage, outage.to_go_on)
        self._said = {outage.name for outage in outages}

    def status(self) -> dict[str, Any]:
        """The account as the whole fleet sees it, under the names of `get_global_status`."""
        now = self.limiter.status()
        limit, busy = now.max_concurrent, now.in_flight
        return {
            "global_max_concurrent": limit,
            "current_concurrent": busy,
            "available_slots": max(0, limit - busy),
            "utilization_percentage": round(100 * busy / limit, 1),
            "requests_in_window": now.in_window,
            "requests_per_minute": now.per_window,
            "waiting": now.waiting,
            "cooling_down_seconds": now.cooling_down_seconds,
            "total_requests": now.total,
            "max_concurrent_reached": now.peak,
            "spent_usd": now.spent_usd,
        }


def _own_redis(settings: Settings) -> str:
    from replibatch import embedded  # noqa: PLC0415  # embedded mode alone needs it

    return embedded.attach(settings)
