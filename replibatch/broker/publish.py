"""The messages of a generation: the one that wakes an attempt, and the call of the application's own task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from replibatch.jobs import Call, Jobs, Message
from replibatch.settings import Settings

if TYPE_CHECKING:
    from celery import Celery

TASK = "replibatch.generate"
HEAD, SINGLE, BULK = 0, 3, 6  # priorities of the queue and of the limiter: 0 is first

SEPARATOR = "\x06\x16"  # between the queue and the priority, in the name of a list in Redis


def queue_lists(settings: Settings) -> dict[int, str]:
    """The Redis lists of the account's queue by priority, as kombu names them; the first is the queue's own name."""
    queue = f"replibatch:{settings.account_key}"
    return {priority: f"{queue}{SEPARATOR}{priority}" if priority else queue for priority in (HEAD, SINGLE, BULK)}


def publish(app: Celery, jobs: Jobs, messages: Sequence[Message]) -> None:
    """Put messages that are in this process's publishing custody into the queue, and note that they are there."""
    if messages:
        send(app, messages)
        jobs.published([message.id for message in messages])


def send(app: Celery, messages: Iterable[Message]) -> None:
    """Put messages into the queue."""
    with app.producer_pool.acquire(block=True) as producer:
        for message in messages:
            app.send_task(
                TASK,
                args=(message.id, message.attempt),
                task_id=message.id,
                producer=producer,
                **options(message),
            )


def call_linked(app: Celery, jobs: Jobs, calls: Iterable[Call]) -> None:
    """Call applications' own tasks with results, as their own code would, and note that they are called.

    The queue is given as an object: under its bare name Celery would add it to the app's own queues, and a worker
    that reconnects would consume the application's messages.
    """
    from kombu.entity import Exchange, Queue  # noqa: PLC0415  # Celery's: loaded with the app

    for call in calls:
        queue = call.link.queue
        app.send_task(
            call.link.task,
            args=call.args,
            kwargs=call.link.kwargs,
            task_id=call.task_id,
            root_id=call.id,
            parent_id=call.id,
            queue=Queue(queue, Exchange(queue), routing_key=queue),
            priority=HEAD,
            add_to_parent=False,
        )
        jobs.called(call)


def options(message: Message) -> dict[str, Any]:
    """How Flower shows a message: one row, with model and attempt."""
    return {
        "priority": message.priority,
        "retries": message.attempt - 1,
        "shadow": f"generate[{message.model}]",
        "argsrepr": f"(attempt {message.attempt} on {message.model})",
        "ignore_result": True,  # the records write it: `broker.results`
    }
