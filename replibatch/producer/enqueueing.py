"""Calls for one generation, for a batch that is not waited for, and for the account's figures."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from replibatch.broker.publish import SINGLE
from replibatch.errors import (
    AllModelsFailed,
    GenerationCanceled,
    GenerationFailed,
    OverBudget,
    RequestError,
)
from replibatch.jobs import Link
from replibatch.jobs.links import APPLICATION_QUEUE
from replibatch.producer.batch import Batch
from replibatch.producer.job import Job
from replibatch.producer.producer import Producer, open_producer
from replibatch.producer.submit import check_max_concurrent, submit
from replibatch.requests import BatchRequest, BatchResult, State


def enqueue(
    request: BatchRequest, *, link: str | None = None, link_queue: str = APPLICATION_QUEUE, fallback: bool = True
) -> Job:
    """Ask for one generation and go on; durable in Redis when this returns.

    Args:
        request: what to make.
        link: the name of a Celery task of the application's own, as in `"app.task"`. It is called once there is a
            result, whatever that is, with the fields of `BatchResult` as a dict. At least once: its task id is the
            job's with `-link` after it, by which a second call can be told; its parent's is the job's.
        link_queue: the queue the application's own workers listen to, in the Redis database of the fleet.
        fallback: whether another model may stand in.

    Raises:
        RequestError: it cannot be done as asked; nothing was spent.
        SettingsError: a setting, or the set-up, is not usable.
    """
    linked = _link(link, link_queue)
    producer = open_producer()
    job_id = producer.enqueue(request, fallback=fallback, link=linked, priority=SINGLE)
    _start_or_say_who_will(producer)
    return Job(producer, job_id)


def enqueue_batch(
    requests: Iterable[BatchRequest],
    *,
    max_concurrent: int | None = None,
    max_cost_usd: float | None = None,
    fallback: bool = True,
) -> Batch:
    """Ask for many generations and go on; all of it durable in Redis when this returns.

    Args:
        requests: a list, or a generator of a million: memory stays flat.
        max_concurrent: the most of this batch in flight at once, over the whole fleet.
        max_cost_usd: nothing of it is started that could take its cost past this.
        fallback: whether other models may stand in.

    Raises:
        RequestError: a request cannot be done as asked.
        SettingsError: a setting, or the set-up, is not usable.
    """
    producer = open_producer()
    check_max_concurrent(max_concurrent)
    _start_or_say_who_will(producer)
    return submit(producer, requests, max_concurrent=max_concurrent, max_cost_usd=max_cost_usd, fallback=fallback)


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
    """
    request = BatchRequest(prompt, model_name, output_filepath, inputs)
    producer = open_producer()
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


def get_global_status() -> dict[str, Any]:
    """The account as the whole fleet sees it, with or without a worker.

    Returns:
        `global_max_concurrent, current_concurrent, available_slots, utilization_percentage, requests_in_window,
        requests_per_minute, waiting, cooling_down_seconds, total_requests, max_concurrent_reached, spent_usd`.
    """
    return open_producer().status()


def _start_or_say_who_will(producer: Producer) -> None:
    """In embedded mode, begin the work if there is a token for it; say so if there is none."""
    if not producer.embedded:
        return
    if producer.settings.replicate_api_token is None:
        warnings.warn(
            "no REPLICATE_API_TOKEN here: this waits for a process that has one, or `replibatch worker`", stacklevel=3
        )
    else:
        producer.bring_worker()


def _link(task: str | None, queue: str) -> Link | None:
    for name, text in (("link", task), ("link_queue", queue)):
        if text is not None and not (isinstance(text, str) and text.strip()):
            raise RequestError(f"{name} is {text!r}; allowed: a name, as in 'app.task'")
    return None if task is None else Link(task, queue)


def _failure(result: BatchResult) -> GenerationFailed:
    """A failed result as the exception it is to a caller that waits for files."""
    message = f"{result.prompt!r}: {result.error}"
    if result.state == State.CANCELED:
        return GenerationCanceled(message, result)
    if not result.attempts:
        return OverBudget(message, result)
    return AllModelsFailed(message, result)
