"""A client: the calls of the module, for one account, with settings that code may give."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterable, Iterable
from typing import Any, Self

from replibatch.broker.publish import BULK, HEAD, SINGLE
from replibatch.errors import (
    AllModelsFailed,
    GenerationCanceled,
    GenerationFailed,
    OverBudget,
    SettingsError,
)
from replibatch.producer.batch import Batch
from replibatch.producer.compat import IntelligentBatchProcessor, intelligent_batch_process
from replibatch.producer.job import Job
from replibatch.producer.linking import link_of
from replibatch.producer.producer import Producer, make_producer, open_producer
from replibatch.producer.submit import check_max_concurrent, check_on_outage, submit
from replibatch.requests import BatchRequest, BatchResult, OnOutage, State
from replibatch.settings import Settings, load

PRIORITIES = {None: SINGLE, "high": HEAD, "normal": SINGLE, "low": BULK}


class Client:
    """One account's queue. Every call of `replibatch` is a method here; several clients may be open in one process.

    Settings not given come from the environment and `.env`, as for the module's own functions. A client may be used
    from any thread and event loop, and in forked processes; close it, or use it as a context manager, sync or async.

    Args:
        token: the account's, in embedded mode; a fleet's workers use their own, and another account's is refused.
        redis_url: the fleet's Redis; without one, embedded mode.
        storage_url: where outputs land: a folder or `s3://bucket/prefix`.
        account: names the account the limits belong to.
        base_url: another server of the same API.
        **settings: any other setting by its field name, as `state_dir`, `global_max_concurrent`, `keep_days`.

    Raises:
        SettingsError: a setting, or the set-up, is not usable.
        QueueUnavailable: Redis cannot be reached.

    Example:
        ```python
        with Client(account="studio", global_max_concurrent=20) as client:
            job = client.enqueue(BatchRequest("A quiet harbour", "qwen/qwen-image"))
            print(job.result(timeout=120).file_paths)
        ```
    """

    def __init__(
        self,
        *,
        token: str | None = None,
        redis_url: str | None = None,
        storage_url: str | None = None,
        account: str | None = None,
        base_url: str | None = None,
        **settings: Any,
    ) -> None:
        if unknown := sorted(settings.keys() - Settings.model_fields.keys()):
            raise SettingsError(f"{unknown[0]} is no setting; expected: {', '.join(sorted(Settings.model_fields))}")
        self._arguments = {
            "replicate_api_token": token,
            "redis_url": redis_url,
            "storage_url": storage_url,
            "account": account,
            "replicate_base_url": base_url,
        } | settings
        token_given = self._arguments["replicate_api_token"] is not None
        self._made: Producer | None = make_producer(load(**self._arguments), token_given=token_given)

    @classmethod
    def default(cls) -> Client:
        """The client of the module's functions, for the environment as it is now."""
        client = cls.__new__(cls)
        client._arguments = {}
        client._made = None
        return client

    def __repr__(self) -> str:
        return f"Client({self._producer.settings.account_key})"

    @property
    def _producer(self) -> Producer:
        return self._made.here() if self._made is not None else open_producer()

    def close(self) -> None:
        """Close its connections; its embedded worker hands its work over and ends. All that is enqueued stays so."""
        if self._made is not None:
            self._made.close()

    async def aclose(self) -> None:
        """`close`, for asyncio."""
        if self._made is not None:
            await self._made.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def enqueue(
        self,
        request: BatchRequest,
        *,
        link: Any = None,
        link_queue: str | None = None,
        fallback: bool = True,
        on_outage: OnOutage = "hold",
    ) -> Job:
        """As `replibatch.enqueue`."""
        check_on_outage(on_outage, fallback=fallback)
        linked = link_of(link, link_queue)
        producer = self._producer
        priority = PRIORITIES[request.priority]
        job_id = producer.enqueue(request, fallback=fallback, on_outage=on_outage, link=linked, priority=priority)
        _start_or_say_who_will(producer)
        return Job(producer, job_id)

    async def aenqueue(
        self,
        request: BatchRequest,
        *,
        link: Any = None,
        link_queue: str | None = None,
        fallback: bool = True,
        on_outage: OnOutage = "hold",
    ) -> Job:
        """As `replibatch.aenqueue`."""
        producer = self._producer
        return await producer.in_thread(
            self.enqueue, request, link=link, link_queue=link_queue, fallback=fallback, on_outage=on_outage
        )

    def enqueue_batch(
        self,
        requests: Iterable[BatchRequest],
        *,
        max_concurrent: int | None = None,
        max_cost_usd: float | None = None,
        fallback: bool = True,
        on_outage: OnOutage = "hold",
    ) -> Batch:
        """As `replibatch.enqueue_batch`."""
        check_max_concurrent(max_concurrent)
        check_on_outage(on_outage, fallback=fallback)
        producer = self._producer
        _start_or_say_who_will(producer)
        return submit(
            producer,
            requests,
            max_concurrent=max_concurrent,
            max_cost_usd=max_cost_usd,
            fallback=fallback,
            on_outage=on_outage,
        )

    async def aenqueue_batch(
        self,
        requests: Iterable[BatchRequest] | AsyncIterable[BatchRequest],
        *,
        max_concurrent: int | None = None,
        max_cost_usd: float | None = None,
        fallback: bool = True,
        on_outage: OnOutage = "hold",
    ) -> Batch:
        """As `replibatch.aenqueue_batch`."""
        given: Iterable[BatchRequest]
        given = [each async for each in requests] if isinstance(requests, AsyncIterable) else requests
        return await self._producer.in_thread(
            self.enqueue_batch,
            given,
            max_concurrent=max_concurrent,
            max_cost_usd=max_cost_usd,
            fallback=fallback,
            on_outage=on_outage,
        )

    def replicate_model_calling(
        self, prompt: str, model_name: str, output_filepath: str | None = None, **inputs: Any
    ) -> list[str]:
        """As `replibatch.replicate_model_calling`."""
        request = BatchRequest(prompt, model_name, output_filepath, inputs)
        producer = self._producer
        producer.bring_worker()
        producer.check_storage()
        job = Job(producer, producer.enqueue(request, priority=SINGLE))
        try:
            result = job.result()
        except KeyboardInterrupt:
            if job.status() == State.PENDING:  # else it is paid for, and finished
                job.cancel()
            raise
        if not result.success:
            raise _failure(result)
        return result.file_paths

    async def intelligent_batch_process(self, *args: Any, **kwargs: Any) -> list[str]:
        """As `replibatch.intelligent_batch_process`."""
        return await intelligent_batch_process(*args, **kwargs, client=self)

    def intelligent_batch_processor(self, *args: Any, **kwargs: Any) -> IntelligentBatchProcessor:
        """An `IntelligentBatchProcessor` of this account; arguments as of the class."""
        return IntelligentBatchProcessor(*args, **kwargs, client=self)

    def producer_with(self, **arguments: Any) -> Producer:
        """The producer behind it, or one with further settings of its own; they are none of the client's business."""
        given = {name: value for name, value in arguments.items() if value is not None}
        return open_producer(**{**self._arguments, **given}) if given else self._producer

    def get_global_status(self) -> dict[str, Any]:
        """As `replibatch.get_global_status`."""
        return self._producer.status()

    async def aget_global_status(self) -> dict[str, Any]:
        """`get_global_status`, for asyncio."""
        return await self._producer.in_thread(self.get_global_status)

    def job(self, job_id: str | None = None, *, request_id: str | None = None) -> Job:
        """As `Job.get`."""
        return Job.found(self._producer, job_id, request_id)

    async def ajob(self, job_id: str | None = None, *, request_id: str | None = None) -> Job:
        """As `Job.aget`."""
        producer = self._producer
        return await producer.in_thread(Job.found, producer, job_id, request_id)

    async def abatch(self, batch_id: str) -> Batch:
        """As `Batch.aget`."""
        producer = self._producer
        return await producer.in_thread(Batch.found, producer, batch_id)

    def batch(self, batch_id: str) -> Batch:
        """As `Batch.get`."""
        return Batch.found(self._producer, batch_id)


def _start_or_say_who_will(producer: Producer) -> None:
    """In embedded mode, begin the work if there is a token for it; say so if there is none."""
    if not producer.embedded:
        return
    if producer.settings.replicate_api_token is None:
        warnings.warn(
            "no REPLICATE_API_TOKEN here: this waits for a process that has one, or `replibatch worker`", stacklevel=4
        )
    else:
        producer.bring_worker()


def _failure(result: BatchResult) -> GenerationFailed:
    """A failed result as the exception it is to a caller that waits for files."""
    message = f"{result.prompt!r}: {result.error}"
    if result.state == State.CANCELED:
        return GenerationCanceled(message, result)
    if not result.attempts:
        return OverBudget(message, result)
    return AllModelsFailed(message, result)
