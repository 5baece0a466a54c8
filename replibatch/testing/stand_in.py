"""The whole queue on the stand-in for Replicate: an embedded Redis, a worker process, a server on this machine."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from replibatch.broker.publish import queue_lists
from replibatch.producer.client import Client
from replibatch.producer.producer import Producer, making
from replibatch.redisdb import keys
from replibatch.sandbox import Sandbox, SandboxSettings
from replibatch.sandbox.books import Books
from replibatch.settings import Settings

TOKEN = "r8_of_the_stand_in"  # noqa: S105  # it goes to this machine alone
# Of the account: all that a test can see of the tests before it. What limits and workers go by stays.
FORGOTTEN = (
    *(keys.GENERATION, keys.BATCH, keys.PENDING, keys.DROPPED, keys.BEGUN, keys.OUT, keys.FINISHED, keys.BATCHES),
    *(keys.FEEDING, keys.OPEN, keys.AGING, keys.BUDGET, keys.SHARERS, keys.COUNTS, keys.COUNTS_OF_DAY, keys.LATEST),
    *(keys.ASKED, keys.CANCELING, keys.QUEUED, keys.CALLS, keys.WEBHOOKS, keys.WEBHOOKS_LOST, keys.SPEND),
    keys.STORED_LIMITS,
)
DRAIN_SECONDS = 10.0


class StandIn:
    """What a session of tests shares. Usable as a context manager without pytest, too.

    Attributes:
        sandbox: the server; `sandbox.settings` orders its faults and speeds, as `Sandbox` describes.
        folder: where outputs go, one for all tests.
        client: a client of this server; clients that take their settings from the environment use it, too.
    """

    def __init__(self) -> None:
        # A socket's path is short, and pytest's folders are not.
        self._state = Path(tempfile.mkdtemp(prefix="rb-"))
        self.folder = self._state / "outputs"
        self.folder.mkdir()
        self._standard = SandboxSettings(latency_seconds=0.0, long_edge_pixels=32)
        self.sandbox = Sandbox(self._standard.model_copy(deep=True))
        self.client: Client
        self._making = making(self._producer)

    @property
    def books(self) -> Books:
        """The predictions created and their cost, as Replicate's side records them."""
        return self.sandbox.books

    @property
    def environment(self) -> dict[str, str]:
        """The settings of a process that is to use it."""
        return {
            "REPLICATE_API_TOKEN": TOKEN,
            "REPLICATE_BASE_URL": self.sandbox.url,
            "REPLIBATCH_STATE_DIR": str(self._state),
            "REPLIBATCH_STORAGE_URL": str(self.folder),
            "REPLIBATCH_WEBHOOK_PRIVATE": "true",
            "REPLIBATCH_REDIS_URL": "",
            "REPLIBATCH_ACCOUNT": "stand-in",
            "REPLICATE_REQUESTS_PER_MINUTE": "100000",
        }

    def __enter__(self) -> Self:
        self.sandbox.start()
        self._making.__enter__()
        fields = {str(field.alias): name for name, field in Settings.model_fields.items()}
        settings = {fields[variable]: value for variable, value in self.environment.items() if value}
        self.client = Client(token=settings.pop("replicate_api_token"), **settings)
        return self

    def __exit__(self, *_: object) -> None:
        self._making.__exit__(None, None, None)
        self.client.close()
        self.sandbox.stop()
        from replibatch import embedded  # noqa: PLC0415  # loaded by now

        embedded.shutdown()
        shutil.rmtree(self._state, ignore_errors=True)

    def reset(self) -> None:
        """Empty books, no faults, no records, no outputs: as at the start, in milliseconds."""
        for name, value in self._standard:
            setattr(self.sandbox.settings, name, value)
        self._forget()
        self.books.reset()
        for each in self.folder.iterdir():
            if not each.name.startswith("."):
                shutil.rmtree(each) if each.is_dir() else each.unlink()

    def settle_down(self) -> None:
        """Cancel what a test has left running, and wait until it is gone: no test pays for another's."""
        producer = self._inner
        generations = self._running()
        for generation_id in generations:
            producer.cancel(generation_id)
        _until(lambda: not self._running())

    def _running(self) -> list[str]:
        jobs = self._inner.jobs
        pattern = keys.GENERATION.at(jobs.prefix, "*")
        ids = [key.rpartition(":")[2] for key in jobs.redis.scan_iter(pattern, count=1000)]
        return [each for each in ids if jobs.outcome(each)[2] is None]

    def _forget(self) -> None:
        producer = self._inner
        redis, prefix = producer.redis, producer.jobs.prefix
        producer.limiter.resume()
        names = redis.scan_iter(f"{prefix}*", count=1000)
        found = [name for name in names if keys.key_of(name, prefix) in FORGOTTEN]
        found += list(redis.scan_iter("celery-task-meta-*", count=1000))
        found += list(queue_lists(producer.settings).values())
        redis.delete(*found)

    @property
    def _inner(self) -> Producer:
        return self.client.producer_with()

    def _producer(self, settings: Settings, *, token_given: bool) -> Producer:
        """A producer that keeps files with relative names in the folder, not in the working directory."""
        producer = Producer(settings, token_given=token_given)
        if settings.replicate_base_url == self.sandbox.url:
            producer.files.home = self.folder
        return producer


def _until(condition: Callable[[], Any]) -> None:
    ends = time.monotonic() + DRAIN_SECONDS
    while not condition() and time.monotonic() < ends:
        time.sleep(0.005)
