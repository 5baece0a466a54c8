"""A gateway in a thread of this process, over HTTP, and clients of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from replibatch.gateway.server import make_server
from replibatch.gateway.tenants import Tenants
from replibatch.producer.producer import Producer
from replibatch.settings import load
from tests.support.waiting import until


class RunningGateway:
    """One that runs.

    Attributes:
        url: its address.
        producer: its way to the queue.
        tenants: its keys.
    """

    def __init__(self, url: str, producer: Producer) -> None:
        self.url = url
        self.producer = producer
        self.tenants = Tenants(producer.redis, producer.settings.key_prefix, producer.limiter)

    def client(self, key: str = "") -> httpx.Client:
        """A client that sends that key."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, verify=False, trust_env=False, timeout=30)


@contextmanager
def running(**settings: Any) -> Iterator[RunningGateway]:
    """A gateway for the settings as they are now, without the account's token, as long as the block lasts."""
    own = load(**settings).model_copy(update={"replicate_api_token": None})
    producer = Producer(own)
    listener = socket.create_server(("127.0.0.1", 0))
    server = make_server(producer, "127.0.0.1", listener.getsockname()[1])
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        until(lambda: server.started, what="the gateway is up")
        yield RunningGateway(f"http://127.0.0.1:{listener.getsockname()[1]}", producer)
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
        producer.close()
        assert not thread.is_alive(), "the gateway has not stopped"
