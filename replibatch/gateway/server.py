"""Runs the application under uvicorn until a signal ends it."""

from __future__ import annotations

import ipaddress
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
import uvicorn

from replibatch.errors import SettingsError
from replibatch.gateway.app import make_app
from replibatch.gateway.context import Gateway
from replibatch.gateway.impatience import ImpatientProtocol
from replibatch.gateway.tenants import Tenants
from replibatch.producer.producer import Producer

STOP_SECONDS = 10  # for requests under way; a held one is answered at once
MOST_AT_ONCE = 2000
LARGEST_HEADERS_BYTES = 64 * 1024
log = structlog.get_logger("replibatch.gateway")


class Server(uvicorn.Server):
    """uvicorn's, which lets go of held requests as soon as it is told to stop."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._gateway = gateway
        self._on_started = on_started

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Begin to listen, and say so."""
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started:
            self._on_started()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGTERM and SIGINT; uvicorn's own ends the process with the signal, as a kill would."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    async def shutdown(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Stop: no request is held any more."""
        self._gateway.stopping.set()
        await super().shutdown(sockets)  # type: ignore[arg-type]


def make_server(
    producer: Producer,
    host: str,
    port: int,
    public_url: str = "",
    on_started: Callable[[], None] = lambda: None,
) -> Server:
    """A server that is not running yet.

    Args:
        producer: its way to the queue.
        host: the address to listen on.
        port: the port.
        public_url: what its addresses begin with; empty for as each client reaches it.
        on_started: called once it listens.

    Raises:
        SettingsError: there is no key, and the address is not of this machine alone.
    """
    is_loopback = _is_loopback(host)
    with producer.reaching():
        tenants = Tenants(producer.redis, producer.settings.key_prefix, producer.limiter)
        if not is_loopback and not tenants.all():
            raise SettingsError(
                f"there is no key, and {host} can be reached from other machines; expected: a key first, by "
                "`replibatch keys add NAME`, or --host 127.0.0.1"
            )
    gateway = Gateway(producer, public_url=public_url, keyless=is_loopback)
    config = uvicorn.Config(
        make_app(gateway),
        host=host,
        port=port,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
        limit_concurrency=MOST_AT_ONCE,
        h11_max_incomplete_event_size=LARGEST_HEADERS_BYTES,
        http=ImpatientProtocol,
        ws="none",
        lifespan="on",
    )
    return Server(config, gateway, on_started)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
