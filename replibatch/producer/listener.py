"""The thread of a process that hears which generations and batches are over, for all its threads that wait."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from redis import Redis
from redis.exceptions import RedisError

IDLE_SECONDS = 10.0  # a thread without waiting calls for so long ends
TICK_SECONDS = 1.0
AWAY_SECONDS = 0.5


class Listener:
    """Wakes threads. It starts with the first that waits, and ends some time after the last.

    Args:
        connect: makes a connection that waits longer than a tick.
        channel: where the ends of generations are announced.
    """

    def __init__(self, connect: Callable[[], Redis], channel: str) -> None:
        self._connect = connect
        self._channel = channel
        self._lock = threading.Lock()
        self._waiting: defaultdict[str, set[threading.Event]] = defaultdict(set)
        self._thread: threading.Thread | None = None
        self._last_used = 0.0
        self._closed = False

    @contextmanager
    def waiting_for(self, name: str) -> Iterator[threading.Event]:
        """An event that is set when a generation or a batch of that name has news, and now and then without any."""
        event = threading.Event()
        with self._lock:
            self._waiting[name].add(event)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="replibatch-listener", daemon=True)
                self._thread.start()
        try:
            yield event
        finally:
            with self._lock:
                self._last_used = time.monotonic()
                self._waiting[name].discard(event)
                if not self._waiting[name]:
                    del self._waiting[name]

    def close(self) -> None:
        """End; waiting calls still poll on their own."""
        with self._lock:
            self._closed = True
            thread = self._thread
        if thread is not None:
            thread.join(2 * TICK_SECONDS)

    def _run(self) -> None:
        while not self._is_done():
            with suppress(RedisError):
                self._listen()
            time.sleep(0 if self._closed else AWAY_SECONDS)

    def _listen(self) -> None:
        with self._connect() as redis, redis.pubsub() as pubsub:
            pubsub.subscribe(self._channel)
            while not self._is_done():
                message = pubsub.get_message(timeout=TICK_SECONDS)
                if message is None:
                    continue
                if message["type"] == "message":
                    self._wake(str(message["data"]).split())
                else:
                    self._wake(None)  # what was announced before the subscription was missed

    def _wake(self, names: list[str] | None) -> None:
        with self._lock:
            for name in list(self._waiting) if names is None else names:
                for event in self._waiting.get(name, ()):
                    event.set()

    def _is_done(self) -> bool:
        with self._lock:
            is_idle = not self._waiting and time.monotonic() - self._last_used > IDLE_SECONDS
            if self._closed or is_idle:
                self._thread = None
                return True
            return False
