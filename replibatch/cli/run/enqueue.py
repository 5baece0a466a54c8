"""From a plan to a batch in the queue: leaves out results made before, and makes lost ones again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import cast

from replibatch import contents
from replibatch.broker.publish import BULK
from replibatch.cli.run.plan import Plan
from replibatch.errors import NoSuchWork
from replibatch.lists import Item
from replibatch.producer import Batch, Producer
from replibatch.producer.submit import CHUNK, Ask, append_all
from replibatch.redisdb import keys
from replibatch.requests import BatchResult, OnOutage, new_id


@dataclass(frozen=True)
class Options:
    """How a plan is made.

    Attributes:
        max_concurrent: the most items in flight at once; None for the account's limit.
        max_cost_usd: starts no item that could take the cost of the list past this, earlier runs included.
        fallback: whether other models may stand in.
        on_outage: `fallback`: another stands in as long as a model is out; `hold`: its items wait.
        fresh: make everything again.
    """

    max_concurrent: int | None = None
    max_cost_usd: float | None = None
    fallback: bool = True
    on_outage: OnOutage = "hold"
    fresh: bool = False


class Enqueuer:
    """Puts one plan into the queue, once.

    Args:
        plan: checked.
        producer: the process's.
        options: how.
        name: of the list, for people.

    Attributes:
        batch: what the plan becomes.
        appended: how many items are in it, or about to be.
    """

    def __init__(self, plan: Plan, producer: Producer, options: Options, name: str) -> None:
        self._plan = plan
        self._folder = plan.folder
        self._producer = producer
        self._options = options
        self._name = name
        self.appended = 0
        self.batch = Batch(producer, new_id(8))

    @property
    def _remembered(self) -> str:
        """The key of the batches of this folder; its identity is settled once it has been created."""
        return keys.RUN.at(self._producer.limiter.prefix, self._folder.identity)

    def put_off_earlier(self) -> None:
        """Put off the items that an earlier, abandoned run had not started: this run queues them instead."""
        batches = self._producer.batches
        for batch_id in cast("set[str]", self._producer.redis.smembers(self._remembered)):
            try:
                if not batches.state(batch_id).is_over:
                    batches.cancel(batch_id, forget=True)
                    batches.close(batch_id)  # a run that was killed had no time to
            except NoSuchWork:
                pass
        self._producer.redis.delete(self._remembered)

    def remember(self) -> None:
        """Let a later run into this folder find the batch, to put it off should this run have been abandoned."""
        self._producer.redis.sadd(self._remembered, self.batch.id)
        self._producer.redis.pexpire(self._remembered, self._producer.jobs.keep_ms)

    def open(self, *, follows: bool) -> None:
        """Make the batch, empty. All runs of a list into a folder draw on one budget, also those at once.

        Args:
            follows: whether this process then follows it.
        """
        options = self._options
        budget = hashlib.sha256(f"{self._folder.identity}/{self._name}".encode()).hexdigest()[:32]
        self._producer.limiter.set_budget(budget, options.max_cost_usd, afresh=options.fresh)
        self._producer.batches.open(
            self.batch.id,
            max_concurrent=options.max_concurrent,
            priority=BULK,
            budget=budget,
            follower=self._producer.process if follows else "",
            about={"name": self._name, "folder": str(self._folder.path), "root": self._folder.root},
        )

    def append(
        self,
        made: Container[bytes],
        *,
        stop: Callable[[], bool] = lambda: False,
        tell: Callable[[int], object] = lambda _: None,
    ) -> None:
        """Append the items to make to the open batch; returns when all are durable.

        Args:
            made: keys of the items that are made already.
            stop: True leaves out the rest of the plan.
            tell: called with the number of items appended, now and then.
        """
        asks = self._asks(made, stop, tell)
        options = self._options
        append_all(self.batch, self._producer, asks, fallback=options.fallback, on_outage=options.on_outage)

    def _asks(self, made: Container[bytes], stop: Callable[[], bool], tell: Callable[[int], object]) -> Iterator[Ask]:
        wanted = (item for item in self._plan.items() if item.key not in made)
        told = 0
        while chunk := list(islice(wanted, CHUNK)):
            self._forget(chunk)
            tell(told)
            self.appended = told
            told += len(chunk)
            for item in chunk:
                if stop():
                    return
                item.request.within = self._folder.root if self._folder.is_direct else None
                yield Ask(item.index, item.id, item.request, item.routed)

    def _forget(self, items: list[Item]) -> None:
        """Forget the results of items to make again: all of these, or those with lost files."""
        ids = [item.id for item in items]
        jobs = self._producer.jobs
        if not self._options.fresh:
            ids = [id_ for id_, result in jobs.succeeded(ids).items() if not self._is_there(result)]
        if ids:
            jobs.forget(ids)

    def _is_there(self, result: BatchResult) -> bool:
        try:
            places = [self._folder.place_of(path).path for path in result.file_paths]
            if not self._folder.is_direct:
                self._producer.files.at_home(result, self._folder.place_of)
        except (OSError, ValueError):  # gone, or of a storage that is another one now
            return False
        return all(map(contents.is_there, places))
