"""A batch's requests on their way into Redis: prepared, packed, appended chunk by chunk."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, get_args

from redis.exceptions import RedisError

from replibatch.broker.publish import BULK
from replibatch.errors import IdempotencyConflict, QueueUnavailable, SettingsError
from replibatch.foreign_text import shown
from replibatch.jobs import Packer, PendingEntry
from replibatch.jobs.identity import differences
from replibatch.producer.batch import Batch
from replibatch.producer.caller import Caller
from replibatch.producer.producer import Producer
from replibatch.requests import BatchRequest, OnOutage, RoutedRequest, new_id
from replibatch.routing import Routed

LARGEST = 1_000_000  # bound of a batch
CHUNK = 500  # requests appended in one call: memory stays flat, however many there are


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of a batch.

    Attributes:
        index: its place in the batch; indexes rise, and may leave gaps.
        id: its generation's: the same id is the same job.
        request: what to make.
        routed: the same with its model, where the caller has routed and checked it already.
    """

    index: int
    id: str
    request: BatchRequest
    routed: Routed | None = None


def check_max_concurrent(value: int | None) -> None:
    """Refuse a value that cannot bound a batch.

    Raises:
        SettingsError: it is neither None nor a whole number from 1.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST):
        raise SettingsError(f"max_concurrent is {shown(value)}; allowed: a whole number from 1 to {LARGEST:,}")


def check_on_outage(value: str, *, fallback: bool) -> None:
    """Refuse a value that is none, or that `fallback` contradicts.

    Raises:
        SettingsError: it is one of these.
    """
    if value not in get_args(OnOutage):
        raise SettingsError(f"on_outage is {shown(value)}; allowed: 'hold' or 'fallback'")
    if value == "fallback" and not fallback:
        raise SettingsError("on_outage is 'fallback', and fallback is False; allowed: 'hold', or with fallback True")


def submit(
    producer: Producer,
    requests: Iterable[BatchRequest],
    *,
    max_concurrent: int | None = None,
    max_cost_usd: float | None = None,
    fallback: bool = True,
    on_outage: OnOutage = "hold",
    max_retries: int | None = None,
    folder: str = "",
    caller: Caller | None = None,
) -> Batch:
    """Enqueue a batch; returns when the whole batch is durable in Redis. Its first requests are under way by then.

    Args:
        producer: the process's.
        requests: a list is checked whole before anything starts; any other iterable is taken in chunks.
        max_concurrent: the most of this batch in flight at once, over the whole fleet.
        max_cost_usd: starts no item that could take the batch's cost past this.
        fallback: whether other models may stand in.
        on_outage: `fallback`: another stands in as long as a model is out; `hold`: its items wait.
        max_retries: tries of one model on passing faults; None leaves it to the workers' setting.
        folder: where files with no name of their own go.
        caller: warned of inputs that are left out; None for the one of this call.

    Raises:
        RequestError: a request cannot be done as asked. Those of the chunks before it are canceled.
        QueueUnavailable: Redis cannot be reached.
    """
    caller = caller or Caller()
    if isinstance(requests, Sequence):
        for request in requests:  # the whole list, before any item is paid for
            producer.prepare.check(request, fallback=fallback, caller=caller)
    batch = Batch(producer, new_id(8))
    with producer.reaching():
        producer.fleet.check_token()
        if max_cost_usd is not None:
            producer.limiter.set_budget(batch.id, max_cost_usd)
        producer.batches.open(batch.id, max_concurrent=max_concurrent, priority=BULK, about={})
    asks = (
        Ask(index, producer.id_of(request) or f"{batch.id}-{index}", request)
        for index, request in enumerate(requests)
    )
    append_all(
        batch,
        producer,
        asks,
        fallback=fallback,
        on_outage=on_outage,
        max_retries=max_retries,
        folder=folder,
        caller=caller,
    )
    return batch


def append_all(
    batch: Batch,
    producer: Producer,
    asks: Iterable[Ask],
    *,
    fallback: bool = True,
    on_outage: OnOutage = "hold",
    max_retries: int | None = None,
    folder: str = "",
    caller: Caller | None = None,
) -> None:
    """Append requests to a batch that is open and empty, start the first ones, and close the batch.

    Raises:
        RequestError: a request cannot be done as asked. Those of the chunks before it are canceled.
        IdempotencyConflict: the id of one stands for another request; the same holds.
        QueueUnavailable: Redis cannot be reached; as far as is known, nothing more of the batch is made.
    """
    packer = Packer()
    known: set[str] = set()
    appended = 0
    try:
        for chunk in _chunks(asks):
            entries: list[str] = []
            catalog: dict[str, Any] = {}
            keyed: dict[str, RoutedRequest] = {}
            for ask in chunk:
                prepared = producer.prepare(
                    ask.request,
                    ask.id,
                    ask.index,
                    routed=ask.routed,
                    fallback=fallback,
                    on_outage=on_outage,
                    max_retries=max_retries,
                    folder=folder,
                    caller=caller,
                )
                if prepared.asked:
                    keyed[ask.id] = prepared
                entries.append(packer.pack(PendingEntry(ask.id, ask.index, prepared)))
                for model in prepared.first_models - known:
                    known.add(model)
                    catalog |= producer.models_from(model)
            with producer.reaching(accepted=None):
                _check_keys(producer, keyed)
                producer.present()
                messages = producer.batches.append(batch.id, appended, entries, packer.fresh(), catalog)
            producer.publish(messages)
            appended += len(entries)
    except (RedisError, QueueUnavailable):  # what was accepted stays so; the batch is closed after a long silence
        raise
    except BaseException:
        with suppress(QueueUnavailable, RedisError):
            batch.cancel()
            producer.batches.close(batch.id)
        raise
    with producer.reaching(accepted=True):
        producer.batches.close(batch.id)


def _check_keys(producer: Producer, keyed: dict[str, RoutedRequest]) -> None:
    """See that no idempotency key stands for another request already."""
    ids = list(keyed)
    for generation_id, before in zip(ids, producer.jobs.asked(ids) if ids else (), strict=True):
        prepared = keyed[generation_id]
        if before and before != prepared.asked:
            raise IdempotencyConflict(prepared.request_id, differences(before, prepared.asked))


def _chunks(asks: Iterable[Ask]) -> Iterator[list[Ask]]:
    source = iter(asks)
    while chunk := list(itertools.islice(source, CHUNK)):
        yield chunk
