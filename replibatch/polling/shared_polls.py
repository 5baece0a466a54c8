"""Looks that are shared: what the watcher of one process has read, those of all others hear of, through Redis.

A page of the account's list shows the predictions of every process. Without this each would turn all pages for its
own few rows, and a large fleet would have used up the account's reads before it had seen its predictions end.

    look:<part>     string  somebody is about to read this part of the list; gone once that is told, or soon
    looked:<id>     hash    prediction -> JSON: what such a page showed to be over; kept for seconds
    looks           channel of what was read

Everything here may be lost: who does not hear of an end looks after it alone.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import RedisError

from replibatch.polling.watcher import Watcher
from replibatch.replicate_api import Prediction

LOOK_MS = 1000  # a look that takes longer is not waited for
ROWS_SECONDS = 10
MOST_KNOWN = 5000  # ends that were passed on, by anybody, and are not again
LARGEST_ROW = 64 * 1024  # a longer one is read by whom it belongs to: some models answer with the file itself
ALONE_SECONDS = 1.0  # after nobody has heard of a look, until one is told again
LISTEN_SECONDS = 5.0
REDIS_AWAY_SECONDS = 0.5

log = structlog.get_logger(__name__)


class SharedPolls:
    """The peers of this process's watcher (`replicate_api.peers`).

    Args:
        redis: a client whose sockets outlast a read of `LISTEN_SECONDS`, and which has little patience: a look
            without the others is better than one that waits for a Redis that is away.
        prefix: of the account's keys.
        in_flight: how many predictions the fleet has in flight.
    """

    def __init__(self, redis: Redis, prefix: str, in_flight: Callable[[], int]) -> None:
        self._redis = redis
        self._prefix = prefix
        self._in_flight = in_flight
        self._me = secrets.token_hex(8)
        self._alone_until = 0.0
        self._known: dict[str, None] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def in_flight(self) -> int:
        """How many predictions the fleet has in flight."""
        return self._in_flight()

    def start(self, watcher: Watcher) -> None:
        """Begin to tell the watcher what others have read."""
        self._thread = threading.Thread(target=self._listen, args=[watcher], name="looks", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        self._stopping.set()
        with suppress(RedisError):
            self._redis.publish(f"{self._prefix}looks", "")  # ends the listener's read
        if self._thread:
            self._thread.join(LISTEN_SECONDS)

    def may_look(self, part: int) -> bool:
        """Whether no other process is about to read this part of the account's list."""
        if time.monotonic() < self._alone_until:
            return True
        try:
            return bool(self._redis.set(f"{self._prefix}look:{part}", self._me, nx=True, px=LOOK_MS))
        except RedisError:
            return True

    def share(self, part: int, rows: Sequence[Prediction], began: float, own: Collection[str]) -> None:
        """Tell the others what a page has shown."""
        if time.monotonic() < self._alone_until:
            return
        over = [row.id for row in rows if row.is_over]
        fresh = set(self._unknown(over)) - set(own)
        texts = ((row.id, json.dumps(row.as_row())) for row in rows if row.id in fresh)
        small = [part for text in texts if len(text[1]) <= LARGEST_ROW for part in text]
        kept = f"{self._prefix}looked:{secrets.token_hex(8)}"
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
            pipeline.delete(f"{self._prefix}look:{part}")
            pipeline.publish(f"{self._prefix}looks", json.dumps(news))
            is_alone = pipeline.execute()[-1] <= 1  # this process hears it, too
            self._alone_until = time.monotonic() + ALONE_SECONDS if is_alone else 0.0

    def _unknown(self, over: Collection[str]) -> list[str]:
        """Those of which nobody has told; from now on they are known."""
        with self._lock:
            unknown = [one for one in over if one not in self._known]
            self._known |= dict.fromkeys(unknown)
            while len(self._known) > MOST_KNOWN:
                del self._known[next(iter(self._known))]
        return unknown

    def _listen(self, watcher: Watcher) -> None:
        while not self._stopping.is_set():
            try:
                with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
                    channel.subscribe(f"{self._prefix}looks")
                    while not self._stopping.is_set():
                        if message := channel.get_message(timeout=LISTEN_SECONDS):
                            self._hear(message["data"], watcher)
            except RedisError as error:
                log.warning("redis is away", error=str(error))
                self._stopping.wait(REDIS_AWAY_SECONDS)
            except Exception:  # of a message nobody here can read, of another version perhaps: the next may do
                log.exception("unexpected")

    def _hear(self, text: str, watcher: Watcher) -> None:
        news: dict[str, Any] = json.loads(text) if text else {"from": self._me}
        if news["from"] == self._me:
            return
        self._unknown(news["over"])

        def rows_of(ids: Sequence[str]) -> list[Prediction]:
            found = self._redis.hmget(news["rows"], list(ids))
            return [Prediction.from_json(json.loads(text)) for text in found if text]

        watcher.hear(news["running"], news["over"], time.monotonic() - news["ago_seconds"], rows_of)
