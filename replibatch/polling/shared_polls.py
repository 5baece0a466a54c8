"""Shared polls: each process sends the rows it has read to the watchers of all others, through Redis.

A page of the account's list shows the predictions of every process. Without this each process would read all pages
for its own few rows, and a large fleet would use up the account's reads before it saw its predictions end.

    poll:<part>     string  a process is about to read this part of the list; gone once it has shared it, or soon
    polled:<id>     hash    prediction -> JSON: the ended rows of one such page; kept for seconds
    polls           channel of the shared pages

All of this may be lost: a process that misses a message polls its own predictions itself.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any, Protocol

from redis import Redis
from redis.exceptions import RedisError

from replibatch.polling.watcher import Watcher
from replibatch.redisdb import keys
from replibatch.redisdb.loop import Loop
from replibatch.redisdb.subscription import Subscription
from replibatch.replicate_api import Prediction

POLL_MS = 1000  # a poll that takes longer is not waited for
ROWS_SECONDS = 10
MOST_KNOWN = 5000  # ends that some process has shared; they are not shared again
LARGEST_ROW = 64 * 1024  # a longer one each process reads itself: some models answer with the file
ALONE_SECONDS = 1.0  # after a poll that no other process has heard of, until the next one is shared
LISTEN_SECONDS = 5.0


class Fleet(Protocol):
    """What the limiter's heartbeat knows of the fleet."""

    in_flight: int


class SharedPolls:
    """The peers of this process's watcher.

    Args:
        redis: a client with a socket time-out above `LISTEN_SECONDS` and little patience: a poll without the others
            is better than one that waits for a Redis that is away.
        prefix: of the account's keys.
        fleet: knows how many predictions the fleet has in flight.
    """

    def __init__(self, redis: Redis, prefix: str, fleet: Fleet) -> None:
        self._redis = redis
        self._prefix = prefix
        self._fleet = fleet
        self._me = secrets.token_hex(8)
        self._alone_until = 0.0
        self._known: dict[str, None] = {}
        self._lock = threading.Lock()
        self._watcher: Watcher | None = None
        self._subscription = Subscription(redis, keys.POLLS.at(prefix))
        self._loop = Loop("shared polls", self._step, wake=self._end_read)

    @property
    def in_flight(self) -> int:
        """How many predictions the fleet has in flight."""
        return self._fleet.in_flight

    def start(self, watcher: Watcher) -> None:
        """Begin to pass the rows of the others to the watcher."""
        self._watcher = watcher
        self._loop.start()

    def stop(self) -> None:
        """Listen no more."""
        self._loop.stop(LISTEN_SECONDS)

    def may_poll(self, part: int) -> bool:
        """Whether no other process is about to read this part of the account's list."""
        if time.monotonic() < self._alone_until:
            return True
        try:
            return bool(self._redis.set(keys.POLL.at(self._prefix, part), self._me, nx=True, px=POLL_MS))
        except RedisError:
            return True

    def share(self, part: int, rows: Sequence[Prediction], began: float, own: Collection[str]) -> None:
        """Send the rows of a page to the others."""
        if time.monotonic() < self._alone_until:
            return
        over = [row.id for row in rows if row.is_over]
        fresh = set(self._unknown(over)) - set(own)
        texts = ((row.id, json.dumps(row.as_row())) for row in rows if row.id in fresh)
        small = [part for text in texts if len(text[1]) <= LARGEST_ROW for part in text]
        kept = keys.POLLED.at(self._prefix, secrets.token_hex(8))
        news = {
            "from": self._me,
            "rows": kept,
            "ago_seconds": time.monotonic() - began,
            "running": [row.id for row in rows if not row.is_over],
            "over": over,
        }
        with suppress(RedisError), self._redis.pipeline(transaction=True) as pipeline:
            if small:
                pipeline.hset(kept, items=small)
                pipeline.expire(kept, ROWS_SECONDS)
            pipeline.delete(keys.POLL.at(self._prefix, part))
            pipeline.publish(keys.POLLS.at(self._prefix), json.dumps(news))
            is_alone = pipeline.execute()[-1] <= 1  # this process hears it, too
            self._alone_until = time.monotonic() + ALONE_SECONDS if is_alone else 0.0

    def _unknown(self, over: Collection[str]) -> list[str]:
        """Those that no process has shared yet; from now on they count as shared."""
        with self._lock:
            unknown = [one for one in over if one not in self._known]
            self._known |= dict.fromkeys(unknown)
            while len(self._known) > MOST_KNOWN:
                del self._known[next(iter(self._known))]
        return unknown

    def _step(self) -> float:
        with self._subscription.opened() as channel:
            if (message := channel.get_message(timeout=LISTEN_SECONDS)) and self._watcher:
                self._hear(message["data"], self._watcher)
        if self._loop.stopping:
            self._subscription.close()
        return 0.0

    def _end_read(self) -> None:
        with suppress(RedisError):
            self._redis.publish(keys.POLLS.at(self._prefix), "")

    def _hear(self, text: str, watcher: Watcher) -> None:
        news: dict[str, Any] = json.loads(text) if text else {"from": self._me}
        if news["from"] == self._me:
            return
        self._unknown(news["over"])

        def rows_of(ids: Sequence[str]) -> list[Prediction]:
            found = self._redis.hmget(news["rows"], list(ids))
            return [Prediction.from_json(json.loads(text)) for text in found if text]

        watcher.hear(news["running"], news["over"], time.monotonic() - news["ago_seconds"], rows_of)
