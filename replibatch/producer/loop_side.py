"""Waiting and reading within an event loop: one subscription and one connection for all that run in it.

A waiter costs a future. Reads asked for at the same time go to Redis together. Both connections are closed shortly
after the last use, and with the loop: the one task that holds them is cancelled with all others.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline, PubSub
from redis.exceptions import RedisError

from replibatch.errors import QueueUnavailable, ReplibatchError
from replibatch.producer.unavailable import unavailable

LINGER_SECONDS = 1.0  # connections outlive their last use by this
SWEEP_SECONDS = 5.0  # all waiters look for themselves so often, whatever was announced
STOP_SECONDS = 1.0  # so often it is looked whether the account was stopped
AWAY_SECONDS = 0.5
READS_AT_ONCE = 500

Read = Callable[[Pipeline], object]


class LoopSide:
    """One process's way to an account within one event loop. Made, and used, in that loop alone.

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
        self._waiting: defaultdict[str, set[asyncio.Future[ReplibatchError | None]]] = defaultdict(set)
        self._asked: list[tuple[Read, asyncio.Future[Any]]] = []
        self._work = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._last_used = time.monotonic()

    async def ask(self, read: Read) -> Any:
        """The answer to one command.

        Args:
            read: puts the command on a pipeline.

        Raises:
            QueueUnavailable: Redis cannot be reached, or refuses.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked.append((read, answer))
        self._keep()
        return await answer

    @contextmanager
    def waiting_for(self, name: str) -> Iterator[Callable[[], Awaitable[None]]]:
        """A wait for news of a generation or a batch of that name; each call of it waits for the next."""
        woken: asyncio.Future[ReplibatchError | None] = asyncio.get_running_loop().create_future()

        async def news() -> None:
            nonlocal woken
            try:
                error = await woken
            finally:
                self._waiting[name].discard(woken)
                woken = asyncio.get_running_loop().create_future()
                self._waiting[name].add(woken)
            if error is not None:
                raise error

        self._waiting[name].add(woken)
        self._keep()
        try:
            yield news
        finally:
            self._waiting[name].discard(woken)
            if not self._waiting[name]:
                del self._waiting[name]
            self._last_used = time.monotonic()

    async def close(self) -> None:
        """Close the connections; whoever still waits is woken by an error."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    def _keep(self) -> None:
        """See that the task runs that holds the connections."""
        self._last_used = time.monotonic()
        self._work.set()
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.get_running_loop().create_task(self._run(), name="replibatch")

    async def _run(self) -> None:
        redis = self._connect()
        listener: asyncio.Task[None] | None = None
        try:
            while self._asked or self._waiting or time.monotonic() - self._last_used < LINGER_SECONDS:
                if self._waiting and (listener is None or listener.done()):
                    listener = asyncio.get_running_loop().create_task(self._listen(redis), name="replibatch-listener")
                await self._read(redis)
                self._work.clear()
                if not self._asked:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._work.wait(), LINGER_SECONDS)
        except asyncio.CancelledError:
            self._fail(QueueUnavailable("the event loop, or the client, was closed"))
            raise
        finally:
            self._keeper = None  # from here on others begin with a task of their own
            if listener is not None:
                listener.cancel()
                await asyncio.gather(listener, return_exceptions=True)
            with suppress(RedisError, OSError):
                await redis.aclose()

    async def _read(self, redis: Redis) -> None:
        while self._asked:
            taken, self._asked = self._asked[:READS_AT_ONCE], self._asked[READS_AT_ONCE:]
            wanted = [(read, answer) for read, answer in taken if not answer.done()]
            try:
                async with redis.pipeline(transaction=False) as pipeline:
                    for read, _ in wanted:
                        read(pipeline)
                    found = await pipeline.execute(raise_on_error=False)
            except RedisError as error:
                found = [error] * len(wanted)
            for (_, answer), each in zip(wanted, found, strict=True):
                if answer.done():
                    continue
                if isinstance(each, Exception):
                    answer.set_exception(unavailable(each, self._where))
                else:
                    answer.set_result(each)

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
                self._wake(list(self._waiting))  # what was announced before the subscription was missed
            now = time.monotonic()
            if now - swept > SWEEP_SECONDS:
                swept = now
                self._wake(list(self._waiting))
            if now - looked > STOP_SECONDS:
                looked = now
                await self._look()

    async def _look(self) -> None:
        try:
            await self._look_for_stop()
        except QueueUnavailable:
            pass  # whoever asks for something is told
        except ReplibatchError as error:
            self._fail(error)

    def _wake(self, names: list[str]) -> None:
        for name in names:
            for woken in self._waiting.get(name, ()):
                if not woken.done():
                    woken.set_result(None)

    def _fail(self, error: ReplibatchError) -> None:
        for futures in list(self._waiting.values()):
            for woken in futures:
                if not woken.done():
                    woken.set_result(error)
        asked, self._asked = self._asked, []
        for _, answer in asked:
            if not answer.done():
                answer.set_exception(error)
