"""The calls people make, in the shapes the users of replicate-batch-process know."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from replibatch.errors import (
    AllModelsFailed,
    GenerationCanceled,
    GenerationFailed,
    OverBudget,
    RequestError,
    SettingsError,
)
from replibatch.ledger import Link
from replibatch.ledger.links import APPLICATION_QUEUE
from replibatch.messages import SINGLE
from replibatch.queue.batch import Batch
from replibatch.queue.job import Job
from replibatch.queue.producer import Producer, open_producer
from replibatch.queue.submit import submit
from replibatch.requests import BatchRequest, BatchResult, State

ProgressCallback = Callable[[int, int, BatchResult], object]


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
    _check_limit("max_concurrent", max_concurrent)
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
    result = Job(producer, producer.enqueue(request, priority=SINGLE)).result()
    if not result.success:
        raise _failure(result)
    return result.file_paths


async def intelligent_batch_process(
    prompts: Sequence[str],
    model_name: str,
    max_concurrent: int = 8,
    output_dir: str = "output/intelligent_batch",
    replicate_api_token: str | None = None,
    global_max_concurrent: int | None = None,
    *,
    output_filepath: Sequence[str] | None = None,
    max_cost_usd: float | None = None,
    progress_callback: ProgressCallback | None = None,
    fallback: bool = True,
    **inputs: Any,
) -> list[str]:
    """Make one file for each prompt with one model.

    Args:
        prompts: the texts.
        model_name: `owner/name`, from the catalogue.
        max_concurrent: the most of this batch in flight at once, over the whole fleet.
        output_dir: where files with no name of their own go.
        replicate_api_token: for embedded mode; None for the environment's.
        global_max_concurrent: the account's limit, as long as this process lives; None for the environment's.
        output_filepath: a name for each prompt.
        max_cost_usd: nothing is started that could take the cost past this.
        progress_callback: called with (done, total, result) for every item.
        fallback: whether other models may stand in.
        **inputs: the model's other inputs, the same for all.

    Returns:
        The files of the successes, in the order of `prompts`; a warning names the prompts that failed.

    Raises:
        ValueError: `output_filepath` has another length than `prompts`; nothing was spent.
        RequestError, SettingsError, AccountStopped: as `replicate_model_calling`.
    """
    if output_filepath is not None and (isinstance(output_filepath, str) or len(output_filepath) != len(prompts)):
        given = "one text" if isinstance(output_filepath, str) else f"{len(output_filepath)} names"
        raise RequestError(f"output_filepath has {given} for {len(prompts)} prompts; allowed: a list, one name each")
    names: Sequence[str | None] = output_filepath or [None] * len(prompts)
    requests = [
        BatchRequest(prompt, model_name, name, dict(inputs)) for prompt, name in zip(prompts, names, strict=True)
    ]
    processor = IntelligentBatchProcessor(
        max_concurrent,
        progress_callback=progress_callback,
        replicate_api_token=replicate_api_token,
        global_max_concurrent=global_max_concurrent,
        max_cost_usd=max_cost_usd,
        fallback=fallback,
    )
    results = await processor._process(requests, None, folder=output_dir)
    if failed := [result for result in results if not result.success]:
        listed = "; ".join(f"{result.prompt!r}: {result.error}" for result in failed)
        warnings.warn(f"{len(failed)} of {len(results)} prompts failed: {listed}", stacklevel=2)
    return [path for result in results if result.success for path in result.file_paths]


class IntelligentBatchProcessor:
    """Mixed models in one batch.

    Args:
        max_concurrent: the most of one batch in flight at once, over the whole fleet.
        rate_limit_per_minute: the account's creates a window, while this process lives; None for the environment's.
        max_retries: tries of one model on passing faults, before the next model.
        progress_callback: called with (done, total, result) for every item.
        replicate_api_token: for embedded mode; None for the environment's.
        global_max_concurrent: the account's limit, as long as this process lives; None for the environment's.
        max_cost_usd: nothing of a batch is started that could take its cost past this.
        fallback: whether other models may stand in.

    Raises:
        SettingsError: an argument out of range.
    """

    def __init__(
        self,
        max_concurrent: int = 8,
        rate_limit_per_minute: int | None = None,
        max_retries: int = 3,
        progress_callback: ProgressCallback | None = None,
        replicate_api_token: str | None = None,
        global_max_concurrent: int | None = None,
        *,
        max_cost_usd: float | None = None,
        fallback: bool = True,
    ) -> None:
        _check_limit("max_concurrent", max_concurrent)
        self._max_concurrent = max_concurrent
        self._progress_callback = progress_callback
        self._max_cost_usd = max_cost_usd
        self._fallback = fallback
        self._arguments = {
            "requests_per_minute": rate_limit_per_minute,
            "max_retries": max_retries,
            "replicate_api_token": replicate_api_token,
            "global_max_concurrent": global_max_concurrent,
        }
        open_producer(**self._arguments).present()

    @property
    def global_manager(self) -> GlobalManager:
        """The account, as the whole fleet sees it."""
        return GlobalManager(self._arguments)

    async def process_intelligent_batch(
        self, requests: Sequence[BatchRequest], max_concurrent: int | None = None
    ) -> list[BatchResult]:
        """Make them all.

        Args:
            requests: any mix of models.
            max_concurrent: for this batch; None for the processor's.

        Returns:
            One result for each request, in their order.

        Raises:
            RequestError, SettingsError, AccountStopped: as `replicate_model_calling`.
        """
        return await self._process(requests, max_concurrent, folder="output/intelligent_batch")

    async def _process(
        self, requests: Sequence[BatchRequest], max_concurrent: int | None, *, folder: str
    ) -> list[BatchResult]:
        _check_limit("max_concurrent", max_concurrent)
        if not requests:
            return []
        return await asyncio.to_thread(
            self._run, list(requests), max_concurrent or self._max_concurrent, folder, asyncio.get_running_loop()
        )

    def _run(
        self, requests: list[BatchRequest], max_concurrent: int, folder: str, loop: asyncio.AbstractEventLoop
    ) -> list[BatchResult]:
        producer = open_producer(**self._arguments)
        producer.bring_worker()
        producer.check_storage()
        batch = submit(
            producer,
            requests,
            max_concurrent=max_concurrent,
            max_cost_usd=self._max_cost_usd,
            fallback=self._fallback,
            folder=folder,
        )
        results: dict[int, BatchResult] = {}
        for place, result in batch.finished():
            results[place] = result
            self._tell(loop, len(results), len(requests), result)
        for place, result in batch.not_started():
            results[place] = result
            self._tell(loop, len(results), len(requests), result)
        return [results[place] for place in range(len(requests))]

    def _tell(self, loop: asyncio.AbstractEventLoop, done: int, total: int, result: BatchResult) -> None:
        """Call the callback in the caller's own thread."""
        if self._progress_callback is not None:
            loop.call_soon_threadsafe(self._progress_callback, done, total, result)


class GlobalManager:
    """The account's limits and what they are used for, under the name replicate-batch-process has for it."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._arguments = arguments

    def get_global_status(self) -> dict[str, Any]:
        """As `replibatch.get_global_status`."""
        return open_producer(**self._arguments).status()


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


def _check_limit(name: str, value: int | None) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise SettingsError(f"{name} is {value!r}; allowed: a whole number from 1")


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
