"""One generation, as its owner holds it."""

from __future__ import annotations

import asyncio
import time
from typing import Self

from replibatch.broker.cancellation import cancel
from replibatch.errors import NoSuchWork, ResultTimeout
from replibatch.producer.producer import LOOK_SECONDS, Producer, open_producer
from replibatch.requests import BatchResult, State


class Job:
    """A single generation: its state, its result, its end.

    Attributes:
        id: its id, and its Celery task's: `celery.result.AsyncResult(job.id)` tells the same.
    """

    def __init__(self, producer: Producer, job_id: str) -> None:
        self._producer = producer
        self.id = job_id

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    @classmethod
    def get(cls, job_id: str) -> Self:
        """A job by its id, from any process or machine of the account.

        Raises:
            NoSuchWork: there is none, or its records have expired.
        """
        job = cls(open_producer(), job_id)
        job.status()
        return job

    def status(self) -> State:
        """Where it is now.

        Raises:
            NoSuchWork: its records have expired.
        """
        state, _, _ = self._producer.jobs.outcome(self.id)
        if not state:
            raise NoSuchWork(f"no job {self.id!r}: never submitted to this account, or its records have expired")
        return State.QUEUED if state == "publishing" else State(state)

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
        """
        self._producer.bring_worker()
        ends = None if timeout is None else time.monotonic() + timeout
        while True:
            state, _, result = self._producer.jobs.outcome(self.id)
            if result:
                files = self._producer.files
                return files.at_home(result) if bring_files else files.in_storage(result)
            if not state:
                raise NoSuchWork(f"no job {self.id!r}: its records have expired")
            left = LOOK_SECONDS if ends is None else ends - time.monotonic()
            if left <= 0:
                raise ResultTimeout(f"job {self.id} has no result after {timeout} s; it goes on")
            self._producer.raise_if_stopped()
            self._producer.jobs.await_done(self.id, min(left, LOOK_SECONDS))

    async def aresult(self, timeout: float | None = None, *, bring_files: bool = True) -> BatchResult:
        """`result`, without blocking the event loop."""
        return await asyncio.to_thread(self.result, timeout, bring_files=bring_files)

    async def astatus(self) -> State:
        """`status`, without blocking the event loop."""
        return await asyncio.to_thread(self.status)

    def cancel(self) -> bool:
        """Cancel it: before it starts, or at Replicate while it runs. False where it was over already."""
        return cancel(self._producer.app, self._producer.jobs, self.id)

    async def acancel(self) -> bool:
        """`cancel`, without blocking the event loop."""
        return await asyncio.to_thread(self.cancel)
