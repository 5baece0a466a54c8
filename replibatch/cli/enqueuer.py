"""From a plan to a batch in the queue: what was made before is left out, what is lost is made again."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import cast

from replibatch.cli.plan import KEY_BYTES, Item, Plan
from replibatch.errors import NoSuchWork
from replibatch.queue import Batch, Producer
from replibatch.queue.batch import CHUNK, submit
from replibatch.requests import BatchRequest, BatchResult, new_id


@dataclass(frozen=True)
class Options:
    """How a plan is made.

    Attributes:
        max_concurrent: the most of it in flight at once; None for the account's limit.
        max_cost_usd: nothing of it is started that could take its cost past this.
        fallback: whether other models may stand in.
        fresh: make everything again.
    """

    max_concurrent: int | None = None
    max_cost_usd: float | None = None
    fallback: bool = True
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
    """

    def __init__(self, plan: Plan, producer: Producer, options: Options, name: str) -> None:
        self._plan = plan
        self._folder = plan.folder
        self._producer = producer
        self._options = options
        self._name = name
        self._indexes = array("Q")
        self._keys = bytearray()
        self._remembered = f"{producer.gate.prefix}run:{plan.folder.identity}"
        self.batch = Batch(producer, new_id(8))

    def put_off_earlier(self) -> None:
        """What an earlier run, which nobody follows any more, had not started waits in this one instead."""
        for batch_id in cast("set[str]", self._producer.redis.smembers(self._remembered)):
            try:
                if not self._producer.batches.state(batch_id).is_over:
                    self._producer.batches.drop(batch_id)
            except NoSuchWork:
                pass
        self._producer.redis.delete(self._remembered)

    def remember(self) -> None:
        """Let a later run into this folder find the batch, to put it off should nobody follow it any more."""
        self._producer.redis.sadd(self._remembered, self.batch.id)
        self._producer.redis.pexpire(self._remembered, self._producer.ledger.keep_ms)

    def submit(
        self,
        made: set[bytes],
        *,
        stop: Callable[[], bool] = lambda: False,
        tell: Callable[[int], object] = lambda _: None,
    ) -> None:
        """Enqueue what is to be made; returns when all of it is durable.

        Args:
            made: keys of the items that are made already.
            stop: True leaves out the rest of the plan.
            tell: called with the number of items enqueued, now and then.
        """
        submit(
            self._producer,
            self._requests(made, stop, tell),
            max_concurrent=self._options.max_concurrent,
            max_cost_usd=self._options.max_cost_usd,
            fallback=self._options.fallback,
            about={"name": self._name, "folder": str(self._folder.path), "root": self._folder.root},
            id_for=lambda place, _: f"r{self.item_at(place)[1].hex()}",
            batch_id=self.batch.id,
        )

    def item_at(self, place: int) -> tuple[int, bytes]:
        """The item at a place in the batch: its place in the plan, and its key."""
        return self._indexes[place], bytes(self._keys[place * KEY_BYTES : (place + 1) * KEY_BYTES])

    def _requests(
        self, made: set[bytes], stop: Callable[[], bool], tell: Callable[[int], object]
    ) -> Iterator[BatchRequest]:
        wanted = (item for item in self._plan.items() if item.key not in made)
        while chunk := list(islice(wanted, CHUNK)):
            self._forget(chunk)
            tell(len(self._indexes))
            for item in chunk:
                if stop():
                    return
                self._indexes.append(item.index)
                self._keys += item.key
                yield item.request

    def _forget(self, items: list[Item]) -> None:
        """What is to be made again: everything, or what was made and is nowhere to be found."""
        ids = [item.id for item in items]
        ledger = self._producer.ledger
        if not self._options.fresh:
            ids = [id_ for id_, result in ledger.succeeded(ids).items() if not self._is_there(result)]
        if ids:
            ledger.forget(ids)

    def _is_there(self, result: BatchResult) -> bool:
        try:
            if self._folder.is_direct:
                return all(self._folder.place_of(path).exists() for path in result.file_paths)
            self._producer.at_home(result, self._folder.place_of)
        except (OSError, ValueError):  # gone, or of a storage that is another one now
            return False
        return True
