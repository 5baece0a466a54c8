"""Batches: a compact pending list, fed into the queue no faster than the account can use it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

from redis import Redis

from replibatch.errors import NoSuchWork
from replibatch.foreign_text import shown
from replibatch.jobs.batch_state import BatchState, Finished, entries_of, parse_finished
from replibatch.jobs.custody import Jobs
from replibatch.jobs.holds import UNFOLLOWED
from replibatch.jobs.packing import PendingEntry, compact, read_attempts, unpack
from replibatch.jobs.record import Message, is_id
from replibatch.money import to_usd
from replibatch.redisdb import keys
from replibatch.redisdb.scripts import Script
from replibatch.requests import RoutedRequest

NEWEST = 100  # batches that are looked through
PAGE = 500  # entries read at a time
RETRIED_AT_ONCE = 100  # finished ones, in one script: it keeps every worker waiting
QUIET_MS = 3_600_000  # a submitter silent for so long is gone, unless it comes back

STATE = ("total", "closed", "held", "cost", "succeeded", "placeholder", "failed", "canceled")

Read = Callable[[Any], Any]  # puts a command on a pipeline, or sends it

_NAMES = ("open_batch", "append", "close_batch", "hold_batch", "top_up", "cancel_batch", "retry", "tidy_batches",
          "admit", "pull")  # fmt: skip
_SCRIPTS = {name: Script("replibatch.jobs", "jobs", name) for name in _NAMES}


def capacity_for(max_concurrent: int) -> int:
    """How many generations a fleet can make use of: those in flight, and some to be saved or to come."""
    return max_concurrent + max(4, max_concurrent // 4)


class Batches:
    """The batches of one account.

    Args:
        jobs: the account's records.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._redis: Redis = jobs.redis

    def open(
        self,
        batch: str,
        *,
        max_concurrent: int | None,
        priority: int,
        about: dict[str, Any],
        budget: str = "",
        follower: str | None = None,
    ) -> None:
        """Begin a batch.

        Args:
            batch: its id.
            max_concurrent: the most items in flight at once; None for no bound of its own.
            priority: of its messages.
            about: for people.
            budget: a budget it shares with others; empty for one of its own.
            follower: the process that follows it: in embedded mode it is made while that lives; empty for none, None
                where any worker makes it.
        """
        self._call(
            "open_batch",
            batch=batch,
            max_concurrent=max_concurrent or -1,
            priority=priority,
            budget=budget,
            about=compact(about),
            follower="-" if follower is None else follower,
        )

    def append(
        self, batch: str, offset: int, entries: list[str], shapes: dict[str, str], catalog: dict[str, Any]
    ) -> list[Message]:
        """Add requests; returns the messages to publish.

        Args:
            batch: the batch.
            offset: how many it had before.
            entries: packed.
            shapes: the packer's.
            catalog: the models of their chains, by name.
        """
        models = {name: compact(model) for name, model in catalog.items()}
        return self._messages("append", batch=batch, offset=offset, entries=entries, shapes=shapes, catalog=models)

    def admit(
        self,
        batch: str,
        generation_id: str,
        request: RoutedRequest,
        catalog: dict[str, Any],
        *,
        max_concurrent: int,
        priority: int,
        budget: str,
        about: dict[str, Any],
    ) -> list[Message]:
        """Add one request, from any process; the batch begins with its first. Returns the messages to publish.

        Args:
            batch: its id.
            generation_id: the request's.
            request: what to make; the same id is not added twice.
            catalog: the models of its chain, by name.
            max_concurrent: the most of the batch in flight at once.
            priority: of its messages.
            budget: a budget it shares with others; empty for one of its own.
            about: for people.
        """
        models = {name: compact(model) for name, model in catalog.items()}
        return self._messages(
            "admit",
            batch=batch,
            id=generation_id,
            request=compact(request.to_json()),
            catalog=models,
            max_concurrent=max_concurrent,
            priority=priority,
            budget=budget,
            about=compact(about),
        )

    def pull(self, batch: str, generation_id: str) -> bool:
        """Take a request that waits out of the line, to be canceled; False where it does not wait there."""
        return bool(self._call("pull", batch=batch, id=generation_id))

    def close(self, batch: str) -> None:
        """Say that no more requests will come."""
        self._call("close_batch", batch=batch)

    def hold(self, batch: str, reason: str) -> list[Message]:
        """Start nothing new, for `reason`; `""` lets it go on, and returns the messages to publish."""
        return self._messages("hold_batch", batch=batch, held=reason)

    def top_up(self, batch: str) -> list[Message]:
        """Feed a batch what it may have outstanding; returns the messages to publish."""
        return self._messages("top_up", batch=batch)

    def tidy(self) -> int:
        """Close batches that their submitter has left, forget expired ones; returns how many were closed."""
        return int(self._call("tidy_batches", quiet_ms=QUIET_MS))

    def follow(self, batch: str, process: str) -> None:
        """From now on this process follows it."""
        self._redis.hset(self._key(batch), "follower", process)

    def follower(self, batch: str) -> str | None:
        """The process that follows it; empty for none, None where any worker makes it."""
        return cast("str | None", self._redis.hget(self._key(batch), "follower"))

    def unfollowed(self) -> list[str]:
        """The batches that are held as no command followed them."""
        with self._redis.pipeline(transaction=False) as pipeline:
            names = [batch for batch, _ in self.newest(NEWEST)]
            for batch in names:
                pipeline.hget(self._key(batch), "held")
            return [batch for batch, held in zip(names, pipeline.execute(), strict=True) if held == UNFOLLOWED]

    def feeding(self) -> set[str]:
        """The batches that have requests waiting."""
        return cast("set[str]", self._redis.smembers(keys.FEEDING.at(self._jobs.prefix)))

    def catalog(self, batch: str) -> dict[str, Any]:
        """The models of a batch's chains, by name."""
        return {name: json.loads(text) for name, text in self._fields(batch, "model:").items()}

    def state(self, batch: str) -> BatchState:
        """The batch now.

        Raises:
            NoSuchWork: there is none of that id.
        """
        with self._redis.pipeline(transaction=True) as pipeline:
            for read in self.state_reads(batch):
                read(pipeline)
            return self.parse_state(batch, pipeline.execute())

    def state_reads(self, batch: str) -> list[Read]:
        """The commands that read a batch's state, each for a pipeline."""
        return [
            lambda pipeline: pipeline.hmget(self._key(batch), list(STATE)),
            lambda pipeline: pipeline.llen(self._key(batch, keys.PENDING)),
            lambda pipeline: pipeline.scard(self._key(batch, keys.OUT)),
        ]

    def parse_state(self, batch: str, answers: Sequence[Any]) -> BatchState:
        """The state, by the answers to `state_reads`.

        Raises:
            NoSuchWork: there is none of that id.
        """
        values, pending, outstanding = answers
        fields = dict(zip(STATE, values, strict=True))
        if fields["total"] is None:
            raise NoSuchWork(f"no batch {batch!r}: never submitted to this account, or its records have expired")
        counts = {name: int(fields[name] or 0) for name in ("succeeded", "placeholder", "failed", "canceled")}
        return BatchState(
            total=int(fields["total"]),
            closed=bool(fields["closed"]),
            held=fields["held"] or "",
            pending=pending,
            outstanding=outstanding,
            cost_usd=to_usd(int(fields["cost"] or 0)),
            **counts,
        )

    def held(self, batch: str) -> str:
        """Why nothing new starts; empty where the batch goes on, or is not there."""
        return str(self._redis.hget(self._key(batch), "held") or "")

    def budget(self, batch: str) -> str:
        """The name of its budget: its own id, or of one that it shares."""
        return str(self._redis.hget(self._key(batch), "budget") or batch)

    def in_flight(self, batch: str) -> int:
        """How many of its generations have a prediction and no result."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for generation_id in self.outstanding(batch):
                pipeline.hexists(keys.GENERATION.at(self._jobs.prefix, generation_id), "prediction")
            return sum(map(bool, pipeline.execute()))

    def about(self, batch: str) -> dict[str, Any]:
        """What it is called; empty for one that is not there."""
        text = cast("str | None", self._redis.hget(self._key(batch), "about"))
        return json.loads(text) if text else {}

    def newest(self, most: int) -> list[tuple[str, float]]:
        """The newest batches, each with the time it was opened, in Unix seconds; the expired ones are forgotten."""
        key = keys.BATCHES.at(self._jobs.prefix)
        rows = cast("list[tuple[str, float]]", self._redis.zrevrange(key, 0, most - 1, withscores=True))
        found = []
        for batch, opened_ms in rows:
            if is_id(batch) and self._redis.exists(self._key(batch)):
                found.append((batch, opened_ms / 1000))
            else:
                self._redis.zrem(key, batch)
        return found

    def oldest_opened(self) -> float:
        """When the oldest batch that has not expired was opened, in Unix seconds; infinity where there is none."""
        key = keys.BATCHES.at(self._jobs.prefix)
        while oldest := cast("list[tuple[str, float]]", self._redis.zrange(key, 0, 0, withscores=True)):
            ((batch, opened_ms),) = oldest
            if is_id(batch) and self._redis.exists(self._key(batch)):
                return opened_ms / 1000
            self._redis.zrem(key, batch)
        return math.inf

    def running(self, batch: str) -> int:
        """How many of its generations are in a worker's custody."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for generation_id in self.outstanding(batch):
                self.state_read(generation_id)(pipeline)
            return pipeline.execute().count("running")

    def outstanding(self, batch: str) -> set[str]:
        """Its generations that are queued or running."""
        return cast("set[str]", self.outstanding_read(batch)(self._redis))

    def outstanding_read(self, batch: str) -> Read:
        """The command that reads them, for a pipeline."""
        return lambda redis: redis.smembers(self._key(batch, keys.OUT))

    def state_read(self, generation_id: str) -> Read:
        """The command that reads a generation's state, for a pipeline."""
        return lambda redis: redis.hget(keys.GENERATION.at(self._jobs.prefix, generation_id), "state")

    def finished(self, batch: str, after: str = "0", block_seconds: float = 0.0) -> list[Finished]:
        """The generations finished since a mark, in the order they finished.

        Args:
            batch: the batch.
            after: the mark of the last one seen.
            block_seconds: how long to wait for the first one; 0 for not at all.
        """
        answer = self.finished_read(batch, after, block_seconds)(self._redis)
        return self._with_results(entries_of(answer))

    def finished_read(self, batch: str, after: str, block_seconds: float = 0.0) -> Read:
        """The command that reads which have finished since a mark: lists of entries by stream."""
        block = max(1, int(block_seconds * 1000)) if block_seconds else None
        return lambda redis: redis.xread({self._key(batch, keys.FINISHED): after}, count=PAGE, block=block)

    def pages(self, batch: str, most: int = PAGE) -> Iterator[list[Finished]]:
        """All finished generations in the order they finished, in pages."""
        stream = self._key(batch, keys.FINISHED)
        last: Any = self._redis.xrevrange(stream, count=1)
        after = "-"
        while last and (entries := cast("list[Any]", self._redis.xrange(stream, after, last[0][0], count=most))):
            yield self._with_results(entries)
            after = f"({entries[-1][0]}"

    def _with_results(self, entries: list[Any]) -> list[Finished]:
        with self._redis.pipeline(transaction=False) as pipeline:
            for read in self.result_reads(entries):
                read(pipeline)
            return parse_finished(entries, pipeline.execute())

    def result_reads(self, entries: list[Any]) -> list[Read]:
        """The commands that read the results of entries of `finished_read`."""
        ids = [fields["id"] for _, fields in entries]
        names = [keys.GENERATION.at(self._jobs.prefix, generation_id) for generation_id in ids]
        return [partial(_read_result_of, name) for name in names]

    def is_told(self, batch: str, mark: str) -> bool:
        """Whether a mark stands; what this batch makes again gives it up, and gets another when it is over."""
        return bool(self._redis.xrange(self._key(batch, keys.FINISHED), mark, mark))

    def unstarted(self, batch: str) -> Iterator[PendingEntry]:
        """The requests that wait in its list, or were dropped from it by a cancel."""
        shapes = self._fields(batch, "shape:")
        for part in (keys.PENDING, keys.DROPPED):
            start = 0
            while entries := cast("list[str]", self._redis.lrange(self._key(batch, part), start, start + PAGE - 1)):
                start += len(entries)
                unpacked = [unpack(entry, shapes) for entry in entries]
                begun = cast(
                    "list[str | None]",
                    self._redis.hmget(self._key(batch, keys.BEGUN), [each.id for each in unpacked]),
                )
                for each, text in zip(unpacked, begun, strict=True):
                    yield (
                        replace(each, attempts=read_attempts(json.loads(text).get("attempts", "[]")))
                        if text
                        else each
                    )

    def cancel(self, batch: str, *, forget: bool = False) -> int:
        """Keep its waiting requests, and those still to be appended, from starting; cancel those on their way.

        Args:
            batch: the batch.
            forget: another batch has taken its place: generations on their way go on for that one, and no list of
                the waiting requests is kept.

        Returns:
            How many requests waited.
        """
        return int(self._call("cancel_batch", batch=batch, forget=forget))

    def retry(self, batch: str, finished: list[Finished]) -> tuple[int, int]:
        """Make again those of a page of results that ended without success, and a page of what was dropped.

        They wait in the batch's list; workers feed it, or `top_up`, at once.

        Returns:
            How many that is, and how many dropped ones are left.
        """
        again, left = self._call(
            "retry",
            batch=batch,
            finished=[(item.mark, item.id, item.index) for item in finished],
            dropped=PAGE,
        )
        return again, left

    def _fields(self, batch: str, kind: str) -> dict[str, str]:
        """What the batch keeps of a kind (`model:`, `shape:`), by name."""
        fields = cast("dict[str, str]", self._redis.hgetall(self._key(batch)))
        return {name.removeprefix(kind): text for name, text in fields.items() if name.startswith(kind)}

    def _key(self, batch: str, part: keys.Key = keys.BATCH) -> str:
        if not is_id(batch):
            raise NoSuchWork(f"no batch {shown(batch)}: an id has letters, digits, '-' and '_' alone")
        return part.at(self._jobs.prefix, batch)

    def _messages(self, name: str, **call: Any) -> list[Message]:
        return [Message(*row) for row in self._call(name, **call)]

    def _call(self, name: str, **call: Any) -> Any:
        mine = {"process": self._jobs.process, "capacity": self._jobs.capacity, "keep_ms": self._jobs.keep_ms}
        arguments = {**mine, **call}
        return _SCRIPTS[name](self._redis, [self._jobs.prefix], (compact(arguments),))


def _read_result_of(name: str, redis: Any) -> Any:
    return redis.hget(name, "result")
