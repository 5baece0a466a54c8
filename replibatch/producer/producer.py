"""A process's way into an account's queue: checks and routes requests, records them, publishes their messages."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from redis import Redis
from redis.exceptions import RedisError

from replibatch.broker.cancellation import cancel
from replibatch.catalog import Catalog
from replibatch.errors import ReplibatchError, SettingsError
from replibatch.jobs import Batches, Jobs, Link, Message, capacity_for
from replibatch.limits import Limiter
from replibatch.limits.outages import Outage
from replibatch.limits.process import explicit_limits, process_name
from replibatch.producer.caller import Caller
from replibatch.producer.files import Files
from replibatch.producer.fleet import Fleet
from replibatch.producer.global_status import global_status
from replibatch.producer.listener import Listener
from replibatch.producer.prepare import Preparer
from replibatch.producer.published_inputs import load_catalog
from replibatch.producer.publisher import Publisher
from replibatch.producer.unavailable import queue_errors
from replibatch.redisdb import keys
from replibatch.redisdb.calls import Patience
from replibatch.redisdb.connection import connect
from replibatch.requests import BatchRequest, OnOutage, RoutedRequest, new_id
from replibatch.settings import Settings, load

log = logging.getLogger("replibatch")

if TYPE_CHECKING:
    from celery import Celery

    from replibatch.embedded import EmbeddedWorker
    from replibatch.producer.hub import Hub

T = TypeVar("T")

MOST_THREADS = 1000  # of a worker brought along: a limit above is for several workers
THREADS = 4  # for what event loops cannot wait for
LOOK_SECONDS = 1.0  # how often a waiting caller looks whether the account was stopped
WAITING_CONNECTIONS = 20  # each thread that waits for a result uses one

_open: WeakSet[Producer] = WeakSet()
_producers: dict[Settings, Producer] = {}
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
        producer = _producers.get(settings)
        if producer is None:
            producer = _producers[settings] = make_producer(
                settings, token_given=arguments.get("replicate_api_token") is not None
            )
        return producer


def make_producer(settings: Settings, *, token_given: bool) -> Producer:
    """A producer; in a test that has fakes, a fake one."""
    return _maker(settings, token_given=token_given)


@contextmanager
def making(maker: Callable[..., Producer]) -> Iterator[None]:
    """Have all producers of this process made by another maker, as long as the block lasts."""
    global _maker, _producers
    before = _maker, _producers
    _maker, _producers = maker, {}
    try:
        yield
    finally:
        _maker, _producers = before


def _forked() -> None:
    """In a forked child: what the parent's threads hold, and what it has opened, is not the child's."""
    global _lock  # noqa: PLW0603  # another thread of the parent may hold it for ever
    _lock = threading.RLock()
    _producers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Producer:
    """What a process needs to ask for generations and to read their results. Thread-safe.

    Args:
        settings: read now.
        token_given: whether the token came as an argument of a call.

    Attributes:
        warns_of_outages: whether calls that wait log what is out; not where a live display shows it.
    """

    def __init__(self, settings: Settings, *, token_given: bool = False) -> None:
        self.settings = settings
        self.embedded = settings.redis_url is None
        self.redis_url = settings.redis_url.get_secret_value() if settings.redis_url else _own_redis(settings)
        self.process = process_name()
        self.patience = Patience()
        self.redis: Redis = self._connect()
        self.limiter = Limiter(self.redis, settings, self.process)
        self.jobs = Jobs(self.redis, settings, self.process)
        self.batches = Batches(self.jobs)
        with queue_errors(settings.redis_address):
            self.catalog: Catalog = load_catalog(settings, None if self.embedded else self.redis)
        self.files = Files(settings, embedded=self.embedded, check_storage=self.check_storage)
        metadata = settings.metadata if "metadata" in settings.model_fields_set else None
        self.prepare = Preparer(self.catalog, self.files, metadata, local_files=settings.local_files)
        self.listener = Listener(partial(connect, self.redis_url, longest_block_seconds=30.0), self._over_channel)
        self._limits = explicit_limits(settings)
        self.fleet = Fleet(settings, self.limiter, token_given=token_given)
        self._pid = os.getpid()
        self._heir: Producer | None = None  # of a forked child
        self._last_beat = float("-inf")
        self._own_worker: EmbeddedWorker | None = None
        self._last_status = float("-inf")
        self._said: set[str] = set()  # outages
        self.warns_of_outages = True
        self._publisher = Publisher(lambda: self.app, self.jobs, settings.redis_address)
        self._threads: ThreadPoolExecutor | None = None
        self._hub: Hub | None = None
        self._closed = False
        _open.add(self)

    def _connect(self) -> Redis:
        is_given = "redis_connections" in self.settings.model_fields_set
        most = self.settings.redis_connections if is_given else WAITING_CONNECTIONS
        return connect(self.redis_url, patience=self.patience, most_connections=most)

    def here(self) -> Producer:
        """This producer; after a fork, the child's own of the same settings.

        Raises:
            ReplibatchError: its client was closed.
        """
        if self._closed:
            raise ReplibatchError("the client is closed; expected: a client that is open")
        if self._pid == os.getpid():
            return self
        with _lock:
            if self._heir is None or self._heir._pid != os.getpid():
                self._heir = make_producer(self.settings, token_given=self.fleet.token_to_check)
        return self._heir.here()

    def close(self) -> None:
        """Close the connections, and stop the worker that was brought along, unless others in this process use it."""
        if self._closed or self._pid != os.getpid():
            return
        self._closed = True
        self._publisher.close()
        _open.discard(self)
        self.listener.close()
        if self._hub is not None:
            self._hub.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        if self._own_worker is not None and not any(each.settings == self.settings for each in list(_open)):
            self._own_worker.stop()
        with suppress(RedisError):
            self.limiter.heartbeat({}, leaving=True)
        self.redis.close()
        if "app" in vars(self):
            self.app.close()

    async def aclose(self) -> None:
        """`close`, without blocking the event loop."""
        await asyncio.get_running_loop().run_in_executor(None, self.close)

    @property
    def threads(self) -> ThreadPoolExecutor:
        """The few threads for what event loops cannot wait for: enqueueing, files."""
        with _lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="replibatch")
            return self._threads

    async def in_thread(self, call: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """The outcome of a call that blocks, made in one of a few threads. A call that has begun is not canceled."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, partial(call, *arguments, **options))

    @property
    def hub(self) -> Hub:
        """The way to the account for event loops."""
        # Redis' asyncio is as large as the rest of its client: for those who use it.
        from replibatch.producer.hub import Hub  # noqa: PLC0415
        from replibatch.redisdb.async_connection import connect_async  # noqa: PLC0415

        with _lock:
            if self._hub is None:
                connect_now = partial(connect_async, self.redis_url)
                self._hub = Hub(connect_now, self._over_channel, self.settings.redis_address, self._look_for_stop)
            return self._hub

    async def _look_for_stop(self) -> None:
        await self.in_thread(self.raise_if_stopped)

    @property
    def _over_channel(self) -> str:
        return keys.OVER.at(self.settings.key_prefix)

    def reaching(self, *, accepted: bool | None = False, job_id: str | None = None) -> AbstractContextManager[None]:
        """As `queue_errors`, with this producer's Redis."""
        return queue_errors(self.settings.redis_address, accepted=accepted, job_id=job_id)

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

        with _lock, self.reaching():
            if not self.has_worker:
                # It asks Replicate about the token before anything else: an old refusal says nothing about this one.
                self.limiter.resume()
                self.present()  # which learns the limit in force
                threads = min(max(self.jobs.capacity, embedded.DEFAULT_CONCURRENCY), MOST_THREADS)
                self._own_worker = embedded.ensure_worker(self.settings, threads)

    def check_storage(self) -> None:
        """As `Fleet.check_storage`, of this process's storage."""
        self.fleet.check_storage(self.files.storage)

    def enqueue(
        self,
        request: BatchRequest,
        *,
        fallback: bool = True,
        on_outage: OnOutage = "hold",
        link: Link | None = None,
        priority: int,
    ) -> str:
        """Record and publish one job; returns its id. Durable in Redis when this returns.

        Raises:
            IdempotencyConflict: the request's id stands for another request.
            QueueUnavailable: Redis cannot be reached.
        """
        generation_id = self.id_of(request) or new_id()
        with self.reaching():
            self.fleet.check_token()
            prepared = self.prepare(
                request, generation_id, 0, fallback=fallback, on_outage=on_outage, caller=Caller()
            )
            self.present()
        self.record(generation_id, prepared, link=link, priority=priority)
        return generation_id

    def record(
        self,
        generation_id: str,
        prepared: RoutedRequest,
        *,
        priority: int,
        link: Link | None = None,
        again: bool = False,
        budget: str = "",
    ) -> None:
        """Record and publish a job that is checked; arguments as of `Jobs.enqueue`.

        Raises:
            IdempotencyConflict, QueueUnavailable: as `enqueue`.
        """
        models: dict[str, Any] = {}
        for model in prepared.first_models:
            models |= self.models_from(model)
        with self.reaching():  # a connection that cannot be made accepts nothing
            self.redis.connection_pool.release(self.redis.connection_pool.get_connection())
        with self.reaching(accepted=None, job_id=generation_id):
            message = self.jobs.enqueue(
                generation_id, prepared, models, priority=priority, link=link, again=again, budget=budget
            )
        if message:
            self.publish([message])

    def models_from(self, model: str) -> dict[str, Any]:
        """The models of a chain of fallbacks, by name, as they travel."""
        return {name: each.to_json() for name, each in self.catalog.subset(model).items()}

    def publish(self, messages: Sequence[Message]) -> None:
        """As `Publisher.publish`, of any number."""
        if messages:
            self._publisher.publish(messages)

    def cancel(self, generation_id: str) -> bool:
        """As `broker.cancellation.cancel`."""
        return cancel(self.app, self.jobs, generation_id)

    def id_of(self, request: BatchRequest) -> str | None:
        """The job's id where the caller gave an idempotency key; None lets it be made up."""
        return self.id_for(str(request.request_id)) if request.idempotent else None

    def id_for(self, request_id: str) -> str:
        """The id of the job that a caller's idempotency key stands for."""
        return "k" + uuid.uuid5(uuid.NAMESPACE_URL, f"{self.limiter.prefix}{request_id}").hex

    @property
    def has_worker(self) -> bool:
        """Whether the worker that this process brings along runs."""
        return self._own_worker is not None and self._own_worker.alive()

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
        with self.reaching():
            self.present()
            now = self.limiter.status()
        if now.stop:
            raise now.stop.error()
        self._say(now.outages)
        if self._own_worker is not None:
            self._own_worker.check()

    def _say(self, outages: Sequence[Outage]) -> None:
        """Log each outage once: a call that waits for its end goes on by itself."""
        for outage in outages:
            if self.warns_of_outages and outage.name not in self._said:
                log.warning("%s; %s", outage, outage.to_go_on)
        self._said = {outage.name for outage in outages}

    def status(self) -> dict[str, Any]:
        """The account as the whole fleet sees it, under the names of `get_global_status`."""
        with self.reaching():
            return global_status(self.limiter.status())


def _own_redis(settings: Settings) -> str:
    from replibatch import embedded  # noqa: PLC0415  # embedded mode alone needs it

    return embedded.attach(settings)


_maker: Callable[..., Producer] = Producer
