"""The Celery side of a generation: one app for producers and workers, and its one kind of message."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, quote

from celery import Celery
from celery.app.amqp import AMQP
from kombu.entity import Exchange, Queue

from replibatch.connection import parse_sentinel
from replibatch.ledger import Call, Message
from replibatch.settings import Settings

TASK = "replibatch.generate"
HEAD, SINGLE, BULK = 0, 3, 6  # priorities of the queue and of the gate: 0 is first

SEPARATOR = "\x06\x16"  # between the queue and the priority, in the name of a list in Redis

DAY_SECONDS = 86_400


def celery_url(redis_url: str) -> str:
    """The address as Celery and kombu spell it.

    A unix socket's scheme is `redis+socket`; each sentinel is an address of its own, and the master's name an option
    of the transport; TLS has to say that it checks certificates.
    """
    if redis_url.startswith("unix://"):
        address, _, query = redis_url.removeprefix("unix://").partition("?")
        database = dict(parse_qsl(query)).get("db", "0")
        return f"redis+socket://{address}?virtual_host={database}"
    if redis_url.startswith("sentinel://"):
        master = parse_sentinel(redis_url)
        user = f"{quote(master.username, safe='')}:{quote(master.password, safe='')}@" if master.password else ""
        return ";".join(f"sentinel://{user}{host}:{port}/{master.database}" for host, port in master.sentinels)
    if redis_url.startswith("rediss://") and "ssl_cert_reqs=" not in redis_url:
        return f"{redis_url}{'&' if '?' in redis_url else '?'}ssl_cert_reqs=required"
    return redis_url


def _sentinel_options(redis_url: str) -> dict[str, Any]:
    """What the transport and the result backend want to know besides the address."""
    if not redis_url.startswith("sentinel://"):
        return {}
    address = parse_sentinel(redis_url)
    return {"master_name": address.master, "sentinel_kwargs": address.sentinel_options}


def queue_lists(settings: Settings) -> dict[int, str]:
    """The Redis lists of the account's queue by priority, as kombu names them; the first is the queue's own name."""
    queue = f"replibatch:{settings.account_key}"
    return {priority: f"{queue}{SEPARATOR}{priority}" if priority else queue for priority in (HEAD, SINGLE, BULK)}


def make_app(settings: Settings, redis_url: str, *, connections: int = 10) -> Celery:
    """A Celery app for one account's queue.

    Args:
        settings: the account, and how long results are kept.
        redis_url: broker and result backend; one that `connect` takes.
        connections: of each pool; a worker needs more than its concurrency.
    """
    url = celery_url(redis_url)
    queue = queue_lists(settings)[HEAD]
    transport: dict[str, Any] = {
        "queue_order_strategy": "priority",
        "priority_steps": [HEAD, SINGLE, BULK],
        "sep": SEPARATOR,
        "socket_timeout": 30,
        "socket_connect_timeout": 5,
        "health_check_interval": 30,
        "visibility_timeout": 365 * DAY_SECONDS,  # custody brings lost work back, not the broker
    }
    if not url.startswith("redis+socket"):
        transport["socket_keepalive"] = True
    sentinel = _sentinel_options(redis_url)
    app = Celery("replibatch", set_as_current=False, amqp=_Named)
    app.conf.update(
        broker_url=url,
        result_backend=url,
        broker_transport_options=transport | sentinel,
        result_backend_transport_options=sentinel,
        redis_max_connections=connections,
        broker_pool_limit=connections,
        redis_socket_timeout=30.0,
        redis_socket_connect_timeout=5.0,
        redis_retry_on_timeout=True,
        result_backend_thread_safe=True,  # one client for all threads instead of one each
        task_default_queue=queue,
        # Nothing is acknowledged, and so nothing delivered twice: custody brings back what a worker loses.
        task_queues=[Queue(queue, routing_key=queue, no_ack=True)],  # type: ignore[no-untyped-call]  # kombu is untyped
        task_default_routing_key=queue,
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        result_expires=int(settings.keep_days * DAY_SECONDS),
        result_extended=True,
        task_send_sent_event=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
    )
    return app


class _Named(AMQP):  # type: ignore[misc]  # celery is untyped
    """Says in the event of a sent task what the worker says in all later ones: its shadow name, with the model."""

    def as_task_v2(self, *args: Any, **kwargs: Any) -> Any:
        message = super().as_task_v2(*args, **kwargs)
        if message.sent_event and message.headers.get("shadow"):
            message.sent_event["name"] = message.headers["shadow"]
        return message


def publish(app: Celery, messages: Iterable[Message]) -> list[str]:
    """Put messages into the queue; returns the generations' ids."""
    ids = []
    with app.producer_pool.acquire(block=True) as producer:
        for message in messages:
            app.send_task(
                TASK,
                args=(message.id, message.attempt),
                task_id=message.id,
                producer=producer,
                **options(message),
            )
            ids.append(message.id)
    return ids


def call_linked(app: Celery, calls: Iterable[Call]) -> list[Call]:
    """Call applications' own tasks with results, as their own code would; returns the calls.

    The queue is given as an object: under its bare name Celery would add it to the app's own, and a worker that
    reconnects would consume what is the application's.
    """
    made = []
    for call in calls:
        queue = call.link.queue
        app.send_task(
            call.link.task,
            args=(call.result,),
            task_id=call.task_id,
            root_id=call.id,
            parent_id=call.id,
            queue=Queue(queue, Exchange(queue), routing_key=queue),  # type: ignore[no-untyped-call]  # kombu is untyped
            priority=HEAD,
            add_to_parent=False,
        )
        made.append(call)
    return made


def capacity_for(max_concurrent: int) -> int:
    """How many generations a fleet can make use of: those in flight, and some to be saved or to come."""
    return max_concurrent + max(4, max_concurrent // 4)


def options(message: Message) -> dict[str, Any]:
    """How a message looks from outside: in Flower one row, with model and attempt."""
    return {
        "priority": message.priority,
        "retries": message.attempt - 1,
        "shadow": f"generate[{message.model}]",
        "argsrepr": f"(attempt {message.attempt} on {message.model})",
        "ignore_result": False,
    }
