"""The Celery app of an account's queue, as producers and workers share it.

Celery takes a tenth of a second to load: a producer loads this module, and with it Celery, for its first message.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl, quote

from celery import Celery
from celery.app.amqp import AMQP
from celery.loaders.app import AppLoader
from kombu.entity import Queue

from replibatch.broker import transport
from replibatch.broker.publish import BULK, HEAD, SEPARATOR, SINGLE, queue_lists
from replibatch.redisdb.connection import parse_sentinel
from replibatch.settings import Settings


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


def make_app(settings: Settings, redis_url: str, *, connections: int = 10) -> Celery:
    """A Celery app for one account's queue.

    Args:
        settings: the account, and how long results are kept.
        redis_url: broker and result backend; one that `connect` takes.
        connections: of each pool; a worker needs more than its concurrency.
    """
    url = celery_url(redis_url)
    queue = queue_lists(settings)[HEAD]
    options: dict[str, Any] = {
        "queue_order_strategy": "priority",
        "priority_steps": [HEAD, SINGLE, BULK],
        "sep": SEPARATOR,
        "socket_timeout": 30,
        "socket_connect_timeout": 5,
        "health_check_interval": 30,
        "visibility_timeout": 365 * 86_400,  # custody brings lost work back, not the broker
    }
    if not url.startswith("redis+socket"):
        options["socket_keepalive"] = True
    sentinel = _sentinel_options(redis_url)
    app = Celery("replibatch", set_as_current=False, amqp=_Named, loader=_Loader)
    app.conf.update(
        broker_url=transport.with_lasting_clients(url),
        broker_transport=None if redis_url.startswith("sentinel://") else transport.NAME,
        result_backend=url,
        broker_transport_options=options | sentinel,
        result_backend_transport_options=sentinel,
        redis_max_connections=connections,
        broker_pool_limit=connections,
        redis_socket_timeout=30.0,
        redis_socket_connect_timeout=5.0,
        redis_retry_on_timeout=True,
        result_backend_thread_safe=True,  # one client for all threads instead of one each
        task_default_queue=queue,
        # Nothing is acknowledged, and so nothing delivered twice: custody brings back what a worker loses.
        task_queues=[Queue(queue, routing_key=queue, no_ack=True)],
        task_default_routing_key=queue,
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        result_expires=int(settings.keep_seconds),
        result_extended=True,
        task_send_sent_event=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
    )
    return app


class _Loader(AppLoader):
    """Imports by Python's own path: Celery's loader puts the working directory in front, a folder of anybody's."""

    def import_from_cwd(self, module: str, imp: Any = None, package: str | None = None) -> ModuleType:
        return (imp or import_module)(module, package=package)


class _Named(AMQP):
    """Says in the event of a sent task what the worker says in all later ones: its shadow name, with the model."""

    def as_task_v2(self, *args: Any, **kwargs: Any) -> Any:
        message = super().as_task_v2(*args, **kwargs)
        if message.sent_event and message.headers.get("shadow"):
            message.sent_event["name"] = message.headers["shadow"]
        return message
