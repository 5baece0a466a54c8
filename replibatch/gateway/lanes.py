"""The lane of a key with slots of its own: a batch that its requests are added to, so that its bound is exact.

A batch never has more generations on their way than its `max_concurrent`, over the whole fleet. A lane that has been
idle for an hour is closed, and opened again by the next request.
"""

from __future__ import annotations

from typing import Any

from replibatch.broker.publish import SINGLE
from replibatch.gateway.tenants import Tenant
from replibatch.producer.producer import Producer
from replibatch.requests import RoutedRequest


def lane_of(tenant: Tenant) -> str:
    """The id of a key's lane; empty for a key without slots of its own."""
    return f"key-{tenant.id}" if tenant.max_concurrent is not None else ""


def enqueue(producer: Producer, tenant: Tenant, generation_id: str, prepared: RoutedRequest) -> None:
    """Add a request to its key's lane; durable when this returns.

    Raises:
        IdempotencyConflict: the id stands for another request.
        QueueUnavailable: Redis cannot be reached.
    """
    models: dict[str, Any] = {}
    for model in prepared.first_models:
        models |= producer.models_from(model)
    with producer.reaching(accepted=None, job_id=generation_id):
        messages = producer.batches.admit(
            lane_of(tenant),
            generation_id,
            prepared,
            models,
            max_concurrent=tenant.max_concurrent or 1,
            priority=SINGLE,
            budget=tenant.budget,
            about={"name": f"key {tenant.name}"},
        )
    producer.publish(messages)


def cancel(producer: Producer, lane: str, generation_id: str) -> None:
    """Cancel a prediction, wherever it is.

    Raises:
        QueueUnavailable: Redis cannot be reached.
    """
    with producer.reaching():
        if lane:
            producer.batches.pull(lane, generation_id)
        producer.cancel(generation_id)
