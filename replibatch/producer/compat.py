"""Batches that are waited for, in the call shapes of replicate-batch-process."""

from __future__ import annotations

import asyncio
import logging
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from replibatch.errors import RequestError
from replibatch.producer.batch import Batch
from replibatch.producer.caller import Caller
from replibatch.producer.producer import Producer, open_producer
from replibatch.producer.submit import check_max_concurrent, check_on_outage, submit
from replibatch.requests import BatchRequest, BatchResult, OnOutage, State
from replibatch.settings import load

if TYPE_CHECKING:
    from replibatch.producer.client import Client

log = logging.getLogger("replibatch")

ProgressCallback = Callable[[int, int, BatchResult], object]


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
    on_outage: OnOutage = "hold",
    client: Client | None = None,
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
        on_outage: what is done as long as a model is out: `hold` waits for it, `fallback` goes on with the next.
        client: the account; None for the environment's.
        **inputs: the model's other inputs, the same for all.

    Returns:
        The files of the successes, in the order of `prompts`; a warning names the prompts that failed.

    Raises:
        ValueError: `output_filepath` has another length than `prompts`; nothing was spent.
        RequestError, SettingsError, AccountStopped: as `replicate_model_calling`.

    Example:
        ```python
        prompts = ["A quiet harbour", "An orchard in blossom"]
        paths = asyncio.run(intelligent_batch_process(prompts, "qwen/qwen-image", max_concurrent=8))
        ```
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
        max_retries=None,
        progress_callback=progress_callback,
        replicate_api_token=replicate_api_token,
        global_max_concurrent=global_max_concurrent,
        max_cost_usd=max_cost_usd,
        fallback=fallback,
        on_outage=on_outage,
        client=client,
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
        max_retries: tries of one model on passing faults, before the next model; None for the workers' setting.
        progress_callback: called with (done, total, result) for every item.
        replicate_api_token: for embedded mode; None for the environment's.
        global_max_concurrent: the account's limit, as long as this process lives; None for the environment's.
        max_cost_usd: nothing of a batch is started that could take its cost past this.
        fallback: whether other models may stand in.
        on_outage: what is done as long as a model is out: `hold` waits for it, `fallback` goes on with the next.
        client: the account; None for the environment's.

    Raises:
        SettingsError: an argument out of range.

    Example:
        ```python
        processor = IntelligentBatchProcessor(max_concurrent=8, max_cost_usd=5.0)
        requests = [BatchRequest("A city", "google/imagen-4-ultra"), BatchRequest("A fox", "qwen/qwen-image")]
        for result in asyncio.run(processor.process_intelligent_batch(requests)):
            print(result.model_used, result.file_paths)
        ```
    """

    def __init__(
        self,
        max_concurrent: int = 8,
        rate_limit_per_minute: int | None = None,
        max_retries: int | None = 3,
        progress_callback: ProgressCallback | None = None,
        replicate_api_token: str | None = None,
        global_max_concurrent: int | None = None,
        *,
        max_cost_usd: float | None = None,
        fallback: bool = True,
        on_outage: OnOutage = "hold",
        client: Client | None = None,
    ) -> None:
        check_max_concurrent(max_concurrent)
        check_on_outage(on_outage, fallback=fallback)
        self._max_concurrent = max_concurrent
        self._progress_callback = progress_callback
        self._max_cost_usd = max_cost_usd
        self._fallback = fallback
        self._on_outage: OnOutage = on_outage
        self._max_retries = max_retries
        load(max_retries=max_retries)  # looked at as the setting is; it travels with each request
        self._arguments = {
            "requests_per_minute": rate_limit_per_minute,
            "replicate_api_token": replicate_api_token,
            "global_max_concurrent": global_max_concurrent,
        }
        self._open: Callable[..., Producer] = client.producer_with if client is not None else open_producer
        producer = self._open(**self._arguments)
        with producer.reaching():
            producer.present()

    @property
    def global_manager(self) -> GlobalManager:
        """The account, as the whole fleet sees it."""
        return GlobalManager(lambda: self._open(**self._arguments))

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
        check_max_concurrent(max_concurrent)
        if not requests:
            return []
        producer = self._open(**self._arguments)
        bound = max_concurrent or self._max_concurrent
        caller, leaving = Caller(), Leaving()
        try:
            batch = await producer.in_thread(self._submit, producer, list(requests), bound, folder, caller, leaving)
            return await self._results(producer, batch, requests)
        except asyncio.CancelledError:  # a time-out, or Ctrl-C: the batch would go on, and cost
            leaving.leave()
            raise

    async def _results(self, producer: Producer, batch: Batch, requests: Sequence[BatchRequest]) -> list[BatchResult]:
        results: dict[int, BatchResult] = {}
        async for index, result in batch.afinished():
            results[index] = result
            self._tell(len(results), len(requests), result)
        for index, result in await producer.in_thread(list, batch.not_started()):
            results[index] = result
            self._tell(len(results), len(requests), result)
        for index, request in enumerate(requests):
            if index not in results:
                results[index] = _dropped(request)
                self._tell(len(results), len(requests), results[index])
        return [results[index] for index in range(len(requests))]

    def _submit(
        self,
        producer: Producer,
        requests: list[BatchRequest],
        max_concurrent: int,
        folder: str,
        caller: Caller,
        leaving: Leaving,
    ) -> Batch:
        producer.bring_worker()
        producer.check_storage()
        batch = submit(
            producer,
            requests,
            max_concurrent=max_concurrent,
            max_cost_usd=self._max_cost_usd,
            fallback=self._fallback,
            on_outage=self._on_outage,
            max_retries=self._max_retries,
            folder=folder,
            caller=caller,
        )
        leaving.arrive(batch)
        return batch

    def _tell(self, done: int, total: int, result: BatchResult) -> None:
        if self._progress_callback is not None:
            self._progress_callback(done, total, result)


class Leaving:
    """How a call that waits for a batch ends before the batch does."""

    def __init__(self) -> None:
        self.has_left = False
        self._batch: Batch | None = None
        self._lock = threading.Lock()

    def arrive(self, batch: Batch) -> None:
        """The batch is there; where its caller has left meanwhile, no further item starts."""
        with self._lock:
            self._batch = batch
            if self.has_left:
                _pause(batch)

    def leave(self) -> None:
        """The caller has left: nothing new of the batch starts."""
        with self._lock:
            self.has_left = True
            if self._batch:
                _pause(self._batch)


def _pause(batch: Batch) -> None:
    batch.pause()
    words = "batch %s is paused: what is in flight is finished; Batch.get(%r).resume(), or `replibatch resume %s`"
    log.warning(words, batch.id, batch.id, batch.id)


def _dropped(request: BatchRequest) -> BatchResult:
    """What there is to tell of a request that was dropped from its batch, where not even a list of those is kept."""
    return BatchResult(
        request_id=str(request.request_id),
        prompt=request.prompt,
        model_name=request.model_name,
        model_used=None,
        success=False,
        error="canceled before it started",
        state=State.PENDING,
    )


class GlobalManager:
    """The account's limits and what they are used for, under the name replicate-batch-process has for it."""

    def __init__(self, open_now: Callable[[], Producer]) -> None:
        self._open_now = open_now

    def get_global_status(self) -> dict[str, Any]:
        """As `replibatch.get_global_status`."""
        return self._open_now().status()
