"""One generation, as its owner holds it."""

from __future__ import annotations

import asyncio
import time
from typing import Self, overload

from replibatch.broker.publish import SINGLE
from replibatch.errors import NoSuchWork, RequestError, ResultTimeout
from replibatch.jobs.custody import parse_outcome
from replibatch.jobs.record import is_id
from replibatch.producer.caller import Caller
from replibatch.producer.producer import LOOK_SECONDS, Producer, open_producer
from replibatch.requests import BatchResult, State

PATIENCE_SECONDS = 2.0  # then a waiting call warns that no worker answers


class Job:
    """A single generation: its state, its result, its end. Usable in any thread, event loop, or forked process.

    Attributes:
        id: its id, and its Celery task's: `celery.result.AsyncResult(job.id)` tells the same.

    Example:
        ```python
        job = enqueue(BatchRequest("A quiet harbour", "qwen/qwen-image"))
        print(job.id, job.status())
        result = job.result(timeout=120)
        print(result.file_paths, result.cost_usd)
        ```
    """

    def __init__(self, producer: Producer, job_id: str) -> None:
        self._made_by = producer
        self.id = job_id

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    @property
    def _producer(self) -> Producer:
        return self._made_by.here()

    @overload
    @classmethod
    def get(cls, job_id: str) -> Self: ...

    @overload
    @classmethod
    def get(cls, *, request_id: str) -> Self: ...

    @classmethod
    def get(cls, job_id: str | None = None, *, request_id: str | None = None) -> Self:
        """A job from any process or machine of the account, by its id or by the `request_id` it was asked for with.

        Raises:
            NoSuchWork: there is none, or its records have expired.
            QueueUnavailable: Redis cannot be reached.
        """
        return cls.found(open_producer(), job_id, request_id)

    @classmethod
    async def aget(cls, job_id: str | None = None, *, request_id: str | None = None) -> Self:
        """`get`, for asyncio."""
        producer = open_producer()
        return await producer.in_thread(cls.found, producer, job_id, request_id)

    @classmethod
    def found(cls, producer: Producer, job_id: str | None, request_id: str | None) -> Self:
        """As `get`, of one producer's account."""
        if (job_id is None) == (request_id is None):
            raise RequestError("Job.get has both ids, or none; expected: the job's id, or request_id=…")
        if request_id is not None:
            job = cls(producer, producer.id_for(request_id))
            if not job._state():
                raise NoSuchWork(f"no job with the request_id {request_id!r}: never asked for, or expired")
            return job
        job = cls(producer, str(job_id))
        if not job._state():
            with producer.reaching():
                is_request = producer.jobs.outcome(producer.id_for(job.id))[0]
            hint = f"; expected: Job.get(request_id={job.id!r})" if is_request else ""
            raise NoSuchWork(f"{_unknown(job.id)}{hint}")
        return job

    def status(self) -> State:
        """Where it is now.

        Raises:
            NoSuchWork: its records have expired.
            QueueUnavailable: Redis cannot be reached.
        """
        return self._named(self._state())

    async def astatus(self) -> State:
        """`status`, for asyncio."""
        state, _, _ = await self._outcome_in_loop()
        return self._named(state)

    def result(self, timeout: float | None = None, *, bring_files: bool = True) -> BatchResult:
        """Wait for its one result. In embedded mode this process's own worker does the work.

        Args:
            timeout: seconds; None waits as long as it takes.
            bring_files: whether its files come to this machine, where they were asked for; without, they stay in
                the workers' storage, and `files[0].read()` and its chunks come from there.

        Raises:
            StorageError: a file cannot be brought; it stays in the storage.
            ResultTimeout: it was not there in time; the generation goes on.
            AccountStopped: the token is refused, or the credit used up.
            NoSuchWork: its records have expired.
            QueueUnavailable: Redis cannot be reached; the generation goes on.
        """
        producer = self._producer
        producer.bring_worker()
        began, caller = time.monotonic(), Caller()
        with producer.listener.waiting_for(self.id) as news:
            while True:
                news.clear()
                with producer.reaching():
                    state, _, result = producer.jobs.outcome(self.id)
                if result:
                    return self._told(producer, result, bring_files=bring_files)
                self._named(state)
                waited = time.monotonic() - began
                left = LOOK_SECONDS if timeout is None else timeout - waited
                if left <= 0:
                    raise self._late(timeout)
                producer.raise_if_stopped()
                if waited > PATIENCE_SECONDS:
                    _warn_of_nobody(producer, caller)
                news.wait(min(left, LOOK_SECONDS))

    async def aresult(self, timeout: float | None = None, *, bring_files: bool = True) -> BatchResult:
        """`result`, for asyncio: a wait costs a future, and one that is cancelled leaves nothing behind."""
        producer, caller = self._producer, Caller()
        if producer.embedded and not producer.has_worker:
            await producer.in_thread(producer.bring_worker)
        state, _, result = await self._outcome_in_loop()  # return an existing result, however short the time
        self._named(state)
        if result is None:
            result = await self._awaited(producer, timeout, caller)
        if producer.embedded and producer.settings.storage_url is None:
            return result
        return await producer.in_thread(self._told, producer, result, bring_files=bring_files)

    def cancel(self) -> bool:
        """Cancel it: before it starts, or at Replicate while it runs. False where it was over already.

        Raises:
            QueueUnavailable: Redis cannot be reached.
        """
        producer = self._producer
        with producer.reaching(accepted=None, job_id=self.id):
            return producer.cancel(self.id)

    async def acancel(self) -> bool:
        """`cancel`, for asyncio."""
        return await self._producer.in_thread(self.cancel)

    def retry(self) -> Self:
        """Make it again, under the same id, where it ended without success; returns the job.

        Raises:
            RequestError: it has not ended, it succeeded, or it belongs to a batch.
            NoSuchWork: its records have expired.
            QueueUnavailable: Redis cannot be reached.
        """
        producer = self._producer
        with producer.reaching():
            found = producer.jobs.request_of(self.id)
        if found is None:
            raise RequestError(f"job {self.id} is {self.status()}; expected: one that ended without success")
        request, in_batch = found
        if in_batch:
            raise RequestError(f"job {self.id} belongs to a batch; expected: Batch.get(…).retry_failed()")
        with producer.reaching():
            producer.present()
        producer.record(self.id, request, priority=SINGLE, again=True)
        return self

    async def aretry(self) -> Self:
        """`retry`, for asyncio."""
        return await self._producer.in_thread(self.retry)

    def _state(self) -> str:
        producer = self._producer
        with producer.reaching():
            return producer.jobs.outcome(self.id)[0]

    def _named(self, state: str) -> State:
        if not state:
            raise NoSuchWork(_unknown(self.id))
        return State.QUEUED if state == "publishing" else State(state)

    async def _outcome_in_loop(self) -> tuple[str, int, BatchResult | None]:
        producer = self._producer
        if not is_id(self.id):
            return "", 0, None
        return parse_outcome(await producer.hub.ask(producer.jobs.outcome_read(self.id)))

    async def _awaited(self, producer: Producer, timeout: float | None, caller: Caller) -> BatchResult:
        try:
            async with asyncio.timeout(timeout) as limit:
                return await self._result_in_loop(producer, caller)
        except TimeoutError:
            if not limit.expired():
                raise
            raise self._late(timeout) from None

    async def _result_in_loop(self, producer: Producer, caller: Caller) -> BatchResult:
        began = time.monotonic()
        with producer.hub.waiting_for(self.id) as news:
            while True:
                state, _, result = await self._outcome_in_loop()
                if result:
                    return result
                self._named(state)
                if time.monotonic() - began > PATIENCE_SECONDS and producer.fleet.may_be_empty:
                    await producer.in_thread(_warn_of_nobody, producer, caller)
                await news()

    def _told(self, producer: Producer, result: BatchResult, *, bring_files: bool) -> BatchResult:
        files = producer.files
        return files.at_home(result) if bring_files else files.in_storage(result)

    def _late(self, timeout: float | None) -> ResultTimeout:
        return ResultTimeout(f"job {self.id} has no result after {timeout} s; it goes on")


def _unknown(job_id: str) -> str:
    return f"no job {job_id!r}: never submitted to this account, or its records have expired"


def _warn_of_nobody(producer: Producer, caller: Caller) -> None:
    with producer.reaching():
        if not producer.fleet.has_no_worker():
            return
    where = producer.settings.redis_address
    caller.warn([f"no worker answers at {where}; it waits until there is one: `replibatch worker`"])
