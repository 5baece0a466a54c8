"""The module's functions: those of a client for the environment as it is at the call."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import Any

from replibatch.producer.batch import Batch
from replibatch.producer.client import Client
from replibatch.producer.job import Job
from replibatch.requests import BatchRequest, OnOutage

_client = Client.default()


def enqueue(
    request: BatchRequest,
    *,
    link: Any = None,
    link_queue: str | None = None,
    fallback: bool = True,
    on_outage: OnOutage = "hold",
) -> Job:
    """Ask for one generation and go on; durable in Redis when this returns.

    Args:
        request: what to make.
        link: a Celery task of the application's own: its name, as in `"app.task"`, the task, or its signature.
            It is called once there is a result, whatever that is, with the fields of `BatchResult` and `job_id` as a
            dict, then the signature's own arguments. At least once: its task id is the job's with `-link` after it,
            which identifies a second call; its parent's is the job's.
        link_queue: the queue the application's own workers listen to, in the Redis database of the fleet; None for
            the task's own, or Celery's default.
        fallback: whether another model may stand in.
        on_outage: what is done as long as a model is out: `hold` waits for it, `fallback` goes on with the next.

    Raises:
        RequestError: it cannot be done as asked; nothing was spent.
        IdempotencyConflict: its `request_id` stands for another request.
        SettingsError: a setting, or the set-up, is not usable.
        QueueUnavailable: Redis cannot be reached; `.accepted` says what became of the job.

    Example:
        ```python
        job = enqueue(BatchRequest("A poster", "qwen/qwen-image", request_id="order-77"))
        assert enqueue(BatchRequest("A poster", "qwen/qwen-image", request_id="order-77")).id == job.id
        ```
    """
    return _client.enqueue(request, link=link, link_queue=link_queue, fallback=fallback, on_outage=on_outage)


async def aenqueue(
    request: BatchRequest,
    *,
    link: Any = None,
    link_queue: str | None = None,
    fallback: bool = True,
    on_outage: OnOutage = "hold",
) -> Job:
    """`enqueue`, for asyncio: nothing blocks the event loop. Canceled, the job may have been accepted.

    Example:
        ```python
        async def main():
            job = await aenqueue(BatchRequest("A quiet harbour", "qwen/qwen-image"))
            return await job.aresult(timeout=120)

        print(asyncio.run(main()).file_paths)
        ```
    """
    return await _client.aenqueue(request, link=link, link_queue=link_queue, fallback=fallback, on_outage=on_outage)


def enqueue_batch(
    requests: Iterable[BatchRequest],
    *,
    max_concurrent: int | None = None,
    max_cost_usd: float | None = None,
    fallback: bool = True,
    on_outage: OnOutage = "hold",
) -> Batch:
    """Ask for many generations and go on; all are durable in Redis when this returns.

    Args:
        requests: a list, or a generator of a million: memory stays flat.
        max_concurrent: the most of this batch in flight at once, over the whole fleet.
        max_cost_usd: starts no item that could take the batch's cost past this.
        fallback: whether other models may stand in.
        on_outage: what is done as long as a model is out: `hold` waits for it, `fallback` goes on with the next.

    Raises:
        RequestError: a request cannot be done as asked.
        IdempotencyConflict: the `request_id` of one stands for another request.
        SettingsError: a setting, or the set-up, is not usable.
        QueueUnavailable: Redis cannot be reached.

    Example:
        ```python
        batch = enqueue_batch(BatchRequest(f"Fox {number}", "qwen/qwen-image") for number in range(3))
        for result in batch:
            print(result.prompt, result.success)
        ```
    """
    return _client.enqueue_batch(
        requests,
        max_concurrent=max_concurrent,
        max_cost_usd=max_cost_usd,
        fallback=fallback,
        on_outage=on_outage,
    )


async def aenqueue_batch(
    requests: Iterable[BatchRequest] | AsyncIterable[BatchRequest],
    *,
    max_concurrent: int | None = None,
    max_cost_usd: float | None = None,
    fallback: bool = True,
    on_outage: OnOutage = "hold",
) -> Batch:
    """`enqueue_batch`, for asyncio; an async generator is read to its end first.

    Example:
        ```python
        async def main():
            batch = await aenqueue_batch([BatchRequest("A fox", "qwen/qwen-image")])
            return [result.success async for result in batch]

        assert asyncio.run(main()) == [True]
        ```
    """
    return await _client.aenqueue_batch(
        requests,
        max_concurrent=max_concurrent,
        max_cost_usd=max_cost_usd,
        fallback=fallback,
        on_outage=on_outage,
    )


def replicate_model_calling(
    prompt: str, model_name: str, output_filepath: str | None = None, **inputs: Any
) -> list[str]:
    """Make one image or video, and wait for it.

    Args:
        prompt: the text.
        model_name: `owner/name`, from the catalogue.
        output_filepath: the file to write; None lets replibatch name it.
        **inputs: the model's other inputs; reference images as paths or URLs.

    Returns:
        The files written.

    Raises:
        RequestError: it cannot be done as asked (`UnsupportedModel`, a missing image …); nothing was spent.
        AllModelsFailed: every model refused; `.result` says why and has the placeholder's path.
        AccountStopped: the token is refused, or the credit used up.
        QueueUnavailable: Redis cannot be reached; `.accepted` says what became of the job.

    Example:
        ```python
        [path] = replicate_model_calling("A quiet harbour", "qwen/qwen-image", "harbour.png", aspect_ratio="16:9")
        ```
    """
    return _client.replicate_model_calling(prompt, model_name, output_filepath, **inputs)


def get_global_status() -> dict[str, Any]:
    """The account as the whole fleet sees it, with or without a worker.

    Returns:
        `global_max_concurrent, current_concurrent, available_slots, utilization_percentage, requests_in_window,
        requests_per_minute, waiting, cooling_down_seconds, total_requests, max_concurrent_reached, spent_usd`.

    Example:
        ```python
        status = get_global_status()
        print(f"{status['current_concurrent']} of {status['global_max_concurrent']} in flight")
        ```
    """
    return _client.get_global_status()
