"""Many generations, as their owner holds them."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from replibatch.errors import ResultTimeout
from replibatch.jobs.batch_state import BatchState, Finished, entries_of, parse_finished
from replibatch.jobs.batches import RETRIED_AT_ONCE
from replibatch.jobs.holds import BUDGET, PAUSED, stop_of
from replibatch.producer.producer import LOOK_SECONDS, Producer, open_producer
from replibatch.requests import BatchResult, State
from replibatch.storage.containment import Place


@dataclass(frozen=True)
class Progress:
    """A batch at a glance.

    Attributes:
        total: requests in it.
        queued: in the queue.
        waiting: in the batch's own list, not yet in the queue.
        running: in the custody of a worker.
        succeeded, placeholder, failed, canceled: by outcome.
        cost_usd: of the finished generations.
        held: why nothing new starts: `paused`, `budget`, `stopped: …`; empty when it goes on.
    """

    total: int
    queued: int
    waiting: int
    running: int
    succeeded: int
    placeholder: int
    failed: int
    canceled: int
    cost_usd: float
    held: str

    @property
    def finished(self) -> int:
        """How many have their result."""
        return self.succeeded + self.placeholder + self.failed + self.canceled


@dataclass(frozen=True, slots=True)
class Ended:
    """A generation of a batch that is over: its id, its request's place in the batch, its result."""

    id: str
    index: int
    result: BatchResult


class Batch:
    """Many generations: their progress, their results as they finish, their end.

    Attributes:
        id: from any process or machine of the account, `Batch.get(id)` finds it again.

    Example:
        ```python
        batch = enqueue_batch([BatchRequest("A fox", "qwen/qwen-image"), BatchRequest("A boat", "qwen/qwen-image")])
        for result in batch:  # `async for` in a coroutine
            print(result.prompt, result.file_paths)
        print(batch.progress().succeeded, Batch.get(batch.id).strategy)
        ```
    """

    def __init__(self, producer: Producer, batch_id: str) -> None:
        self._made_by = producer
        self.id = batch_id

    @property
    def _producer(self) -> Producer:
        return self._made_by.here()

    def __repr__(self) -> str:
        return f"Batch({self.id!r})"

    @classmethod
    def get(cls, batch_id: str) -> Self:
        """A batch by its id.

        Raises:
            NoSuchWork: there is none, or its records have expired.
        """
        return cls.found(open_producer(), batch_id)

    @classmethod
    async def aget(cls, batch_id: str) -> Self:
        """`get`, for asyncio."""
        producer = open_producer()
        return await producer.in_thread(cls.found, producer, batch_id)

    @classmethod
    def found(cls, producer: Producer, batch_id: str) -> Self:
        """As `get`, of one producer's account."""
        batch = cls(producer, batch_id)
        batch.progress()
        return batch

    @property
    def strategy(self) -> str:
        """How it is fed, by its size and the quota as it is now: `immediate`, `window` or `dynamic queue`."""
        now = self._producer.status()
        with self._producer.reaching():
            total = self._producer.batches.state(self.id).total
        free_now = now["requests_per_minute"] - now["requests_in_window"]
        return strategy_for(total, free_now, now["requests_per_minute"])

    def progress(self) -> Progress:
        """How far it is.

        Raises:
            NoSuchWork: its records have expired.
        """
        producer = self._producer
        with producer.reaching():
            state = producer.batches.state(self.id)
            return _progress(state, producer.batches.running(self.id))

    async def aprogress(self) -> Progress:
        """`progress`, for asyncio."""
        batches, ask = self._producer.batches, self._producer.hub.ask
        state = batches.parse_state(self.id, await asyncio.gather(*map(ask, batches.state_reads(self.id))))
        ids = await ask(batches.outstanding_read(self.id))
        states = await asyncio.gather(*(ask(batches.state_read(each)) for each in ids))
        return _progress(state, states.count("running"))

    def __iter__(self) -> Iterator[BatchResult]:
        """Results as they finish, then those that could not start."""
        for _, result in itertools.chain(self.finished(), self.not_started()):
            yield result

    async def __aiter__(self) -> AsyncIterator[BatchResult]:
        """The same, for asyncio: a wait costs a future."""
        async for _, result in self.afinished():
            yield result
        for _, result in await self._producer.in_thread(list, self.not_started()):
            yield result

    async def afinished(self) -> AsyncIterator[tuple[int, BatchResult]]:
        """As `finished`, for asyncio."""
        producer = self._producer
        batches, hub = producer.batches, producer.hub
        if producer.embedded and not producer.has_worker:
            await producer.in_thread(producer.bring_worker)
        mark = "0"
        with hub.waiting_for(self.id) as news:
            while True:
                state = batches.parse_state(
                    self.id, await asyncio.gather(*map(hub.ask, batches.state_reads(self.id)))
                )
                streams = await hub.ask(batches.finished_read(self.id, mark))
                entries = entries_of(streams)
                results = await asyncio.gather(*map(hub.ask, batches.result_reads(entries)))
                for each in parse_finished(entries, results):
                    mark = each.mark
                    result = await self._abrought(producer, each)
                    if result is not None:
                        yield each.index, result
                if entries:
                    continue
                if state.is_over or self._is_stuck(state):
                    return
                with suppress(TimeoutError):  # a batch that is held, or canceled, announces nothing
                    await asyncio.wait_for(news(), LOOK_SECONDS)

    async def _abrought(self, producer: Producer, each: Finished) -> BatchResult | None:
        if each.result is None:
            return await producer.in_thread(self.gone, each)
        if producer.embedded and producer.settings.storage_url is None:
            return each.result
        return await producer.in_thread(producer.files.at_home, each.result)

    def finished(self, *, stop: Callable[[BatchState], bool] | None = None) -> Iterator[tuple[int, BatchResult]]:
        """Results as they finish, each with its request's place in the batch; arguments as of `follow`."""
        for each in self.follow(stop=stop):
            yield each.index, each.result

    def follow(
        self,
        *,
        stop: Callable[[BatchState], bool] | None = None,
        place_in: Callable[[str], Place] | None = None,
        bring_files: bool = True,
    ) -> Iterator[Ended]:
        """What finishes, as it does.

        Args:
            stop: asked when nothing has finished for a second; True ends the iteration, and the batch goes on.
            place_in: where a stored file goes on this machine, by its key; None for the place it was asked for at.
            bring_files: False leaves them where they are stored, to be read from there.
        """
        self._producer.bring_worker()
        files = self._producer.files
        mark = "0"
        made: set[int] = set()  # a failover to an older copy of Redis may tell of a success once more …
        seen: set[int] = set()  # … and of others before the mark
        has_looked_again = False
        while True:
            with self._producer.reaching():
                state = self._producer.batches.state(self.id)
                block_seconds = 0.0 if state.is_over else LOOK_SECONDS
                found = self._producer.batches.finished(self.id, mark, block_seconds)
            for each in found:
                mark = each.mark
                if each.index in made or (has_looked_again and each.index in seen):
                    continue
                seen.add(each.index)
                if each.result and each.result.success:
                    made.add(each.index)
                if result := each.result:
                    told = files.at_home(result, place_in) if bring_files else files.in_storage(result)
                    yield Ended(each.id, each.index, told)
                elif gone := self.gone(each):
                    yield Ended(each.id, each.index, gone)
            if found:
                continue
            if state.is_over and not has_looked_again and len(seen) < state.ended:
                mark, has_looked_again = "0", True
                continue
            if state.is_over or self._is_stuck(state) or (stop and stop(state)):
                return
            self._producer.raise_if_stopped()

    def gone(self, item: Finished) -> BatchResult | None:
        """What there is to tell where the record of a finished one is gone; None where this batch makes it again."""
        if not self._producer.batches.is_told(self.id, item.mark):
            return None
        return BatchResult(
            request_id=item.id,
            prompt="",
            model_name="",
            model_used=None,
            success=False,
            error="its result is kept no more: it has expired, or the same id is made again elsewhere",
            state=State.FAILED,
        )

    def results(self, timeout: float | None = None) -> list[BatchResult]:
        """All results in the order of the requests, those that could not start included.

        Args:
            timeout: seconds; None waits as long as it takes.

        Raises:
            ResultTimeout: they were not all there in time; the batch goes on.
            AccountStopped: the token is refused, or the credit used up.
        """
        ends = math.inf if timeout is None else time.monotonic() + timeout

        def is_late(_: BatchState) -> bool:
            if time.monotonic() > ends:
                raise ResultTimeout(f"batch {self.id} is not over after {timeout} s; it goes on")
            return False

        results = dict(self.finished(stop=is_late))
        results.update(self.not_started())
        return [results[index] for index in sorted(results)]

    async def aresults(self, timeout: float | None = None) -> list[BatchResult]:
        """`results`, for asyncio."""
        try:
            async with asyncio.timeout(timeout) as limit:
                results = {index: result async for index, result in self.afinished()}
        except TimeoutError:
            if not limit.expired():
                raise
            raise ResultTimeout(f"batch {self.id} is not over after {timeout} s; it goes on") from None
        results.update(await self._producer.in_thread(list, self.not_started()))
        return [results[index] for index in sorted(results)]

    def so_far(self) -> Iterator[BatchResult]:
        """The results there are by now, as they finished, read where they are stored; waits for nothing."""
        for page in self._producer.batches.pages(self.id):
            for each in page:
                if each.result:
                    yield self._producer.files.in_storage(each.result)

    def not_started(self) -> Iterator[tuple[int, BatchResult]]:
        """What never started, as results that say why, each with its place."""
        with self._producer.reaching():
            held = self._producer.batches.state(self.id).held
            entries = self._producer.batches.unstarted(self.id)
        why = {"": "canceled before it started", BUDGET: "not started: it would exceed the budget"}.get(
            held, f"not started: {held}"
        )
        for entry in entries:
            yield entry.index, entry.request.unmade(State.PENDING, why, entry.attempts)

    def pause(self) -> None:
        """Start nothing new; what runs goes on."""
        with self._producer.reaching(accepted=None):
            self._producer.batches.hold(self.id, PAUSED)

    def resume(self, *, max_cost_usd: float | None = None) -> None:
        """Go on, after a pause, a stop of the account, or with a higher budget.

        Args:
            max_cost_usd: the new budget of the batch, and of those that share it (runs of one list into one folder);
                None keeps the old one.
        """
        producer = self._producer
        with producer.reaching(accepted=None):
            if max_cost_usd is not None:
                producer.limiter.set_budget(producer.batches.budget(self.id), max_cost_usd)
            producer.limiter.resume(forget=True)
            messages = producer.batches.hold(self.id, "")
        producer.publish(messages)

    def cancel(self) -> None:
        """Cancel what waits, and at Replicate what runs."""
        producer = self._producer
        with producer.reaching(accepted=None):
            producer.batches.cancel(self.id)
            for generation_id in producer.batches.outstanding(self.id):
                producer.cancel(generation_id)

    def retry_failed(self) -> int:
        """Make again what failed, was canceled or got a placeholder; returns how many."""
        again, left = 0, 1
        producer = self._producer
        with producer.reaching(accepted=None):
            pages = producer.batches.pages(self.id, RETRIED_AT_ONCE)
            while (page := next(pages, [])) or left:
                failed = [item for item in page if item.result and not item.result.success]
                count, left = producer.batches.retry(self.id, failed)
                if count and not again:
                    self._feed()
                again += count
            self._feed()
        return again

    async def apause(self) -> None:
        """`pause`, for asyncio."""
        await self._producer.in_thread(self.pause)

    async def aresume(self, *, max_cost_usd: float | None = None) -> None:
        """`resume`, for asyncio."""
        await self._producer.in_thread(self.resume, max_cost_usd=max_cost_usd)

    async def acancel(self) -> None:
        """`cancel`, for asyncio."""
        await self._producer.in_thread(self.cancel)

    async def aretry_failed(self) -> int:
        """`retry_failed`, for asyncio."""
        return await self._producer.in_thread(self.retry_failed)

    def _feed(self) -> None:
        """Publish what may be outstanding; in the midst of many pages workers do so as well, and faster."""
        self._producer.publish(self._producer.batches.top_up(self.id))

    def _is_stuck(self, state: BatchState) -> bool:
        """Whether waiting cannot lift the hold, and no item of the batch is in flight."""
        if stop := stop_of(state.held):
            raise stop.error()
        return state.held == BUDGET and state.outstanding == 0


def _progress(state: BatchState, running: int) -> Progress:
    running = min(state.outstanding, running)
    return Progress(
        total=state.total,
        queued=state.outstanding - running,
        waiting=state.pending,
        running=running,
        succeeded=state.succeeded,
        placeholder=state.placeholder,
        failed=state.failed,
        canceled=state.canceled,
        cost_usd=state.cost_usd,
        held=state.held,
    )


def strategy_for(total: int, free_now: int, per_window: int) -> str:
    """What feeding a batch of `total` amounts to, by the quota free now and that of a whole window."""
    if total <= free_now:
        return "immediate"
    return "window" if total <= per_window else "dynamic queue"
