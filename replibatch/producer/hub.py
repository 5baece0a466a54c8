"""Waiting and reading for asyncio: one subscription and one connection of a process, whatever its event loops do.

They live in an event loop of their own, in one thread that ends some time after the last use. A caller's loop holds a
future for each wait and nothing else: it can be closed, and another opened, at any time. Reads asked for at the same
time go to Redis together.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline, PubSub
from redis.exceptions import RedisError

from replibatch.errors import QueueUnavailable, ReplibatchError
from replibatch.producer.unavailable import unavailable

LINGER_SECONDS = 5.0  # the thread outlives the last use by this
SWEEP_SECONDS = 5.0  # all waiters look for themselves so often, whatever was announced
STOP_SECONDS = 1.0  # so often it is looked whether the account was stopped
AWAY_SECONDS = 0.5
READS_AT_ONCE = 500

Read = Callable[[Pipeline], object]


class Promise(NamedTuple):
    """A future, and the event loop of a caller that it belongs to."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]

    @classmethod
    def here(cls) -> Promise:
        """One for the loop that runs in this thread."""
        loop = asyncio.get_running_loop()
        return cls(loop, loop.create_future())


class Hub:
    """One process's way to an account for all its event loops. Any loop may use it.

    Args:
        connect: makes a client of Redis.
        channel: where the ends of generations are announced.
        where: the address, for people.
        look_for_stop: raises a `ReplibatchError` where nothing that is waited for will come.
    """

    def __init__(
        self,
        connect: Callable[[], Redis],
        channel: str,
        where: str,
        look_for_stop: Callable[[], Awaitable[None]],
    ) -> None:
        self._connect = connect
        self._channel = channel
        self._where = where
        self._look_for_stop = look_for_stop
        self._lock = threading.Lock()
        self._waiting: defaultdict[str, set[Promise]] = defaultdict(set)
        self._asked: list[tuple[Read, Promise]] = []
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work: asyncio.Event | None = None
        self._last_used = 0.0
        self._closed = False

    async def ask(self, read: Read) -> Any:
        """The answer to one command.

        Args:
            read: puts the command on a pipeline.

        Raises:
            QueueUnavailable: Redis cannot be reached, or refuses.
        """
        promise = Promise.here()
        with self._lock:
            self._asked.append((read, promise))
            self._keep()
        answer = await promise.future
        if isinstance(answer, Exception):
            raise answer
        return answer

    @contextmanager
    def waiting_for(self, name: str) -> Iterator[Callable[[], Awaitable[None]]]:
        """A wait for news of a generation or a batch of that name; each call waits for the next news."""
        promise = Promise.here()

        async def news() -> None:
            nonlocal promise
            try:
                error = await promise.future
            finally:
                with self._lock:
                    self._waiting[name].discard(promise)
                    promise = Promise.here()
                    self._waiting[name].add(promise)
            if error is not None:
                raise error

        with self._lock:
            self._waiting[name].add(promise)
            self._keep()
        try:
            yield news
        finally:
            with self._lock:
                self._waiting[name].discard(promise)
                if not self._waiting[name]:
                    del self._waiting[name]
                self._last_used = time.monotonic()

    def close(self) -> None:
        """End; calls that still wait raise `QueueUnavailable`."""
        with self._lock:
            self._closed = True
            thread = self._thread
            self._ring()
        if thread is not None:
            thread.join(LINGER_SECONDS)

    def _keep(self) -> None:
        """See that the thread runs, and looks."""
        self._last_used = time.monotonic()
        if self._closed:
            raise QueueUnavailable("the client is closed")
        if self._thread is None:
            self._thread = threading.Thread(target=self._live, name="replibatch-hub", daemon=True)
            self._thread.start()
        self._ring()

    def _ring(self) -> None:
        if self._loop is not None and self._work is not None:
            self._loop.call_soon_threadsafe(self._work.set)

    def _live(self) -> None:
        try:
            asyncio.run(self._run())
        except Exception as error:  # noqa: BLE001  # waiting calls raise it
            self._fail(unavailable(error, self._where))
            with self._lock:
                self._thread = self._loop = None

    async def _run(self) -> None:
        work = asyncio.Event()
        with self._lock:
            self._loop, self._work = asyncio.get_running_loop(), work
        listener: asyncio.Task[None] | None = None
        async with self._connect() as redis:
            while not self._is_done():
                if self._waiting and (listener is None or listener.done()):
                    listener = asyncio.create_task(self._listen(redis))
                await self._read(redis)
                work.clear()
                if not self._asked and not self._closed:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(work.wait(), LINGER_SECONDS / 5)
            if listener is not None:
                listener.cancel()
                await asyncio.gather(listener, return_exceptions=True)
        if self._closed:
            self._fail(QueueUnavailable("the client is closed"))

    def _is_done(self) -> bool:
        with self._lock:
            is_idle = not self._asked and not self._waiting
            if self._closed or (is_idle and time.monotonic() - self._last_used > LINGER_SECONDS):
                self._thread = self._loop = None  # who comes from here on starts another
                return True
            return False

    async def _read(self, redis: Redis) -> None:
        while self._asked:
            with self._lock:
                taken, self._asked = self._asked[:READS_AT_ONCE], self._asked[READS_AT_ONCE:]
            wanted = [(read, promise) for read, promise in taken if not promise.future.done()]
            try:
                async with redis.pipeline(transaction=False) as pipeline:
                    for read, _ in wanted:
                        read(pipeline)
                    found = await pipeline.execute(raise_on_error=False) if wanted else []
            except RedisError as error:
                found = [error] * len(wanted)
            _keep_promises(
                (promise, unavailable(each, self._where) if isinstance(each, Exception) else each)
                for (_, promise), each in zip(wanted, found, strict=True)
            )

    async def _listen(self, redis: Redis) -> None:
        while self._waiting:
            try:
                async with redis.pubsub() as pubsub:
                    await pubsub.subscribe(self._channel)
                    await self._hear(pubsub)
            except RedisError:
                await asyncio.sleep(AWAY_SECONDS)

    async def _hear(self, pubsub: PubSub) -> None:
        swept = looked = time.monotonic()
        while self._waiting:
            message = await pubsub.get_message(timeout=STOP_SECONDS)
            if message is not None and message["type"] == "message":
                self._wake(str(message["data"]).split())
            elif message is not None:
                self._wake(None)  # what was announced before the subscription was missed
            now = time.monotonic()
            if now - swept > SWEEP_SECONDS:
                swept = now
                self._wake(None)
            if now - looked > STOP_SECONDS:
                looked = now
                await self._look()

    async def _look(self) -> None:
        try:
            await self._look_for_stop()
        except QueueUnavailable:
            pass  # calls that need Redis raise it
        except ReplibatchError as error:
            self._wake(None, error)

    def _wake(self, names: list[str] | None, error: ReplibatchError | None = None) -> None:
        """Wake those that wait for one of these, or all."""
        with self._lock:
            found = [self._waiting.get(name, set()) for name in (list(self._waiting) if names is None else names)]
            promises = [promise for each in found for promise in each]
        _keep_promises((promise, error) for promise in promises)

    def _fail(self, error: ReplibatchError) -> None:
        self._wake(None, error)
        with self._lock:
            asked, self._asked = self._asked, []
        _keep_promises((promise, error) for _, promise in asked)


def _keep_promises(outcomes: Iterator[tuple[Promise, Any]]) -> None:
    """Have each loop set its futures. Errors are results, too: no caller has to fetch them."""
    by_loop: defaultdict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = defaultdict(list)
    for promise, outcome in outcomes:
        by_loop[promise.loop].append((promise.future, outcome))
    for loop, pairs in by_loop.items():
        with suppress(RuntimeError):  # it was closed, and no call waits in it any more
            loop.call_soon_threadsafe(_set_all, pairs)


def _set_all(pairs: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, outcome in pairs:
        if not future.done():
            future.set_result(outcome)
