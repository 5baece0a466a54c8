"""Batches: a compact pending list, fed into the queue no faster than the account can use it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from redis import Redis

from replibatch.errors import NoSuchWork
from replibatch.ledger.records import MICRO, Ledger, Message, compact
from replibatch.requests import BatchResult, RoutedRequest
from replibatch.scripts import Script

PAUSED = "paused"  # why a batch is held, when its owner wants it so

_NAMES = ("open_batch", "append", "close_batch", "hold_batch", "top_up", "cancel_batch", "retry")
_SCRIPTS = {name: Script("replibatch.ledger", "ledger", name) for name in _NAMES}


@dataclass(frozen=True, slots=True)
class PendingEntry:
    """One request that waits in its batch."""

    id: str
    index: int
    request: RoutedRequest

    def packed(self) -> str:
        """As it lies in the list."""
        return "\t".join((self.id, str(self.index), self.request.model, compact(self.request.to_json())))


@dataclass(frozen=True)
class BatchState:
    """A batch at a glance.

    Attributes:
        total: requests so far.
        closed: whether no more will come.
        held: why nothing new starts (`paused`, `budget`, …); empty when it goes on.
        pending: wait in the batch's list.
        outstanding: are queued or running.
        succeeded, placeholder, failed, canceled: are finished, by outcome.
        cost_usd: what the finished ones cost.
    """

    total: int
    closed: bool
    held: str
    pending: int
    outstanding: int
    succeeded: int
    placeholder: int
    failed: int
    canceled: int
    cost_usd: float

    @property
    def finished(self) -> int:
        """How many have their result."""
        return self.succeeded + self.placeholder + self.failed + self.canceled

    @property
    def is_over(self) -> bool:
        """Whether every request has its result."""
        return self.closed and self.finished >= self.total


class Finished(NamedTuple):
    """One generation of a batch that is over; `result` is None where it is being made again."""

    mark: str
    id: str
    place: int
    result: BatchResult | None


class BatchLedger:
    """The batches of one account.

    Args:
        ledger: the account's records.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._redis: Redis = ledger.redis

    def open(self, batch: str, *, max_concurrent: int | None, priority: int, about: dict[str, Any]) -> None:
        """Begin a batch."""
        self._call(
            "open_batch", batch=batch, max_concurrent=max_concurrent or -1, priority=priority, about=compact(about)
        )

    def append(self, batch: str, offset: int, entries: list[PendingEntry], catalog: dict[str, Any]) -> list[Message]:
        """Add requests after the first `offset`; returns the messages to publish."""
        packed = [entry.packed() for entry in entries]
        models = {name: compact(model) for name, model in catalog.items()}
        return self._messages("append", batch=batch, offset=offset, entries=packed, catalog=models)

    def close(self, batch: str) -> None:
        """Say that no more requests will come."""
        self._call("close_batch", batch=batch, keep_ms=self._ledger.keep_ms)

    def hold(self, batch: str, reason: str) -> list[Message]:
        """Start nothing new, for `reason`; `""` lets it go on, and returns the messages to publish."""
        return self._messages("hold_batch", batch=batch, held=reason)

    def top_up(self, batch: str) -> list[Message]:
        """Feed a batch what it may have outstanding; returns the messages to publish."""
        return self._messages("top_up", batch=batch)

    def feeding(self) -> set[str]:
        """The batches that have requests waiting."""
        return cast("set[str]", self._redis.smembers(f"{self._ledger.prefix}batches:feeding"))

    def catalog(self, batch: str) -> dict[str, Any]:
        """The models of a batch's chains, by name."""
        fields = cast("dict[str, str]", self._redis.hgetall(self._key(batch)))
        return {
            name.removeprefix("model:"): json.loads(text)
            for name, text in fields.items()
            if name.startswith("model:")
        }

    def state(self, batch: str) -> BatchState:
        """The batch now.

        Raises:
            NoSuchWork: there is none of that id.
        """
        names = ("total", "closed", "held", "cost", "succeeded", "placeholder", "failed", "canceled")
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hmget(self._key(batch), list(names))
            pipeline.llen(self._key(batch, "pending"))
            pipeline.scard(self._key(batch, "out"))
            values, pending, outstanding = pipeline.execute()
        fields = dict(zip(names, values, strict=True))
        if fields["total"] is None:
            raise NoSuchWork(f"no batch {batch!r}: never submitted to this account, or its records have expired")
        counts = {name: int(fields[name] or 0) for name in ("succeeded", "placeholder", "failed", "canceled")}
        return BatchState(
            total=int(fields["total"]),
            closed=bool(fields["closed"]),
            held=fields["held"] or "",
            pending=pending,
            outstanding=outstanding,
            cost_usd=int(fields["cost"] or 0) / MICRO,
            **counts,
        )

    def is_paused(self, batch: str) -> bool:
        """Whether its owner wants nothing new of it to start."""
        return self._redis.hget(self._key(batch), "held") == PAUSED

    def in_flight(self, batch: str) -> int:
        """How many of it are at Replicate, or were, and are not finished."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for generation_id in self.outstanding(batch):
                pipeline.hexists(f"{self._ledger.prefix}gen:{generation_id}", "prediction")
            return sum(map(bool, pipeline.execute()))

    def about(self, batch: str) -> dict[str, Any]:
        """What it is called; empty for one that is not there."""
        text = cast("str | None", self._redis.hget(self._key(batch), "about"))
        return json.loads(text) if text else {}

    def newest(self, most: int) -> list[tuple[str, float]]:
        """The newest batches, each with the time it was opened, in Unix seconds; the expired ones are forgotten."""
        key = f"{self._ledger.prefix}batches"
        rows = cast("list[tuple[str, float]]", self._redis.zrevrange(key, 0, most - 1, withscores=True))
        found = []
        for batch, opened_ms in rows:
            if self._redis.exists(self._key(batch)):
                found.append((batch, opened_ms / 1000))
            else:
                self._redis.zrem(key, batch)
        return found

    def running(self, batch: str) -> int:
        """How many of it some worker has in custody."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for generation_id in self.outstanding(batch):
                pipeline.hget(f"{self._ledger.prefix}gen:{generation_id}", "state")
            return pipeline.execute().count("running")

    def outstanding(self, batch: str) -> set[str]:
        """Those of it that are queued or running."""
        return cast("set[str]", self._redis.smembers(self._key(batch, "out")))

    def finished(self, batch: str, after: str = "0", block_seconds: float = 0.0) -> list[Finished]:
        """What has finished since a mark, in the order it did.

        Args:
            batch: the batch.
            after: the mark of the last one seen.
            block_seconds: how long to wait for the first one; 0 for not at all.
        """
        block = max(1, int(block_seconds * 1000)) if block_seconds else None
        answer: Any = self._redis.xread({self._key(batch, "finished"): after}, count=500, block=block)
        entries = [entry for _, entries in answer or [] for entry in entries]
        with self._redis.pipeline(transaction=False) as pipeline:
            for _, fields in entries:
                pipeline.hget(f"{self._ledger.prefix}gen:{fields['id']}", "result")
            results = pipeline.execute()
        return [
            Finished(mark, fields["id"], int(fields["index"]), result and BatchResult.from_json(json.loads(result)))
            for (mark, fields), result in zip(entries, results, strict=True)
        ]

    def unstarted(self, batch: str) -> Iterator[tuple[int, RoutedRequest]]:
        """The requests that wait in its list, or were dropped from it by a cancel, with their index."""
        for part in ("pending", "dropped"):
            start = 0
            while entries := cast("list[str]", self._redis.lrange(self._key(batch, part), start, start + 499)):
                start += len(entries)
                for entry in entries:
                    _, index, _, request = entry.split("\t", 3)
                    yield int(index), RoutedRequest.from_json(json.loads(request))

    def drop(self, batch: str) -> int:
        """See that nothing of it that still waits will start; returns how many requests that were."""
        return int(self._call("cancel_batch", batch=batch, keep_ms=self._ledger.keep_ms))

    def retry(self, batch: str, ids: list[str]) -> list[Message]:
        """Make again those of `ids` that ended without success; returns the messages to publish."""
        return self._messages("retry", batch=batch, ids=ids, keep_ms=self._ledger.keep_ms)

    def _key(self, batch: str, *parts: str) -> str:
        return ":".join((f"{self._ledger.prefix}batch", batch, *parts))

    def _messages(self, name: str, **call: Any) -> list[Message]:
        return [Message(*row) for row in self._call(name, **call)]

    def _call(self, name: str, **call: Any) -> Any:
        arguments = {"process": self._ledger.process, "capacity": self._ledger.capacity, **call}
        return _SCRIPTS[name](self._redis, [self._ledger.prefix], (compact(arguments),))
