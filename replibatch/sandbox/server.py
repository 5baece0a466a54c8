"""The server: in a thread of this process, or as the whole process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.routing import PathMatches, Rule
from tornado.web import Application, RequestHandler

from replibatch import catalog as catalogs
from replibatch.catalog import Catalog
from replibatch.errors import SettingsError
from replibatch.sandbox import api, desk, handlers
from replibatch.sandbox.answers import PORTAL_PATH
from replibatch.sandbox.books import Books
from replibatch.sandbox.creates import Create, CreateByDeployment
from replibatch.sandbox.downloads import Download
from replibatch.sandbox.listing import Listing
from replibatch.sandbox.service import Service
from replibatch.sandbox.settings import SandboxSettings

LOCALHOST = "127.0.0.1"
BACKLOG = 1024
_NAME = r"[A-Za-z0-9._-]+"


class Sandbox:
    """The stand-in for Replicate, served by a thread of this process as long as the `with` block lasts.

    Args:
        settings: may be changed while it runs; the defaults if None.
        host: the address to bind.
        port: 0 takes any that is free.
        catalog: the models it has; those of the working directory's catalogue if None.

    Attributes:
        settings: read whenever they matter; assign to its fields to change them.
        books: what was asked, what ran, and what it cost.
        url: the server's address, without `/v1`.

    Raises:
        SettingsError: the address cannot be bound.
    """

    def __init__(
        self,
        settings: SandboxSettings | None = None,
        *,
        host: str = LOCALHOST,
        port: int = 0,
        catalog: Catalog | None = None,
    ) -> None:
        self.settings = settings or SandboxSettings()
        self._service = Service(self.settings, catalog or catalogs.load())
        self._socket = _bind(host, port)
        self.url = _url_of(self._socket)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)

    @property
    def books(self) -> Books:
        """The books; may be read from any thread."""
        return self._service.books

    def start(self) -> Self:
        """Serve from now on; returns once it does."""
        self._thread.start()
        self._started.wait()
        return self

    def stop(self) -> None:
        """Close every connection and forget every prediction; the books stay readable."""
        if self._loop and self._stop and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with _serving(self._service, self._socket):
            self._started.set()
            await self._stop.wait()


def serve(
    settings: SandboxSettings | None = None,
    host: str = LOCALHOST,
    port: int = 0,
    *,
    catalog: Catalog | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; call it from the main thread. Prints nothing.

    Args:
        settings: the defaults if None.
        host: the address to bind.
        port: 0 takes any that is free.
        catalog: the models it has; those of the working directory's catalogue if None.
        on_ready: called with the server's address once it answers.

    Raises:
        SettingsError: the address cannot be bound.
    """
    service = Service(settings or SandboxSettings(), catalog or catalogs.load())
    bound = _bind(host, port)

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C is a KeyboardInterrupt
                loop.add_signal_handler(number, stop.set)
        async with _serving(service, bound):
            if on_ready:
                on_ready(_url_of(bound))
            await stop.wait()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())


@contextlib.asynccontextmanager
async def _serving(service: Service, bound: socket.socket) -> AsyncIterator[None]:
    service.base_url = _url_of(bound)
    server = HTTPServer(_application(service))
    server.add_socket(bound)
    try:
        yield
    finally:
        server.stop()
        await server.close_all_connections()
        service.stop()


def _application(service: Service) -> Application:
    with_service = {"service": service}
    routes = [
        Rule(_Posted(r"/v1/predictions"), Create),
        Rule(PathMatches(r"/v1/predictions"), Listing),
        Rule(PathMatches(rf"/v1/models/({_NAME}/{_NAME})/predictions"), Create),
        Rule(PathMatches(rf"/v1/deployments/({_NAME}/{_NAME})/predictions"), CreateByDeployment),
        Rule(PathMatches(rf"/v1/deployments/({_NAME}/{_NAME})"), api.DeploymentView),
        Rule(PathMatches(rf"/v1/predictions/({_NAME})"), api.OnePrediction),
        Rule(PathMatches(rf"/v1/predictions/({_NAME})/cancel"), api.Cancel),
        Rule(PathMatches(r"/v1/files"), api.FileList),
        Rule(PathMatches(rf"/v1/files/({_NAME})"), api.OneFile),
        Rule(PathMatches(r"/v1/account"), api.AccountView),
        Rule(PathMatches(rf"/v1/models/({_NAME}/{_NAME})"), api.ModelView),
        Rule(PathMatches(rf"/v1/models/({_NAME}/{_NAME})/versions/({_NAME})"), api.VersionView),
        Rule(PathMatches(r"/v1/webhooks/default/secret"), api.WebhookSecret),
        Rule(PathMatches(rf"/output/({_NAME})/({_NAME})"), Download),
        Rule(PathMatches(PORTAL_PATH), handlers.Portal),
        Rule(PathMatches(r"/books"), desk.BooksView),
        Rule(PathMatches(r"/books/reset"), desk.BooksReset),
        Rule(PathMatches(r"/faults"), desk.FaultsView),
        Rule(PathMatches(r"/settings"), desk.SettingsView),
        Rule(PathMatches(r"/models"), desk.ModelsDesk),
    ]
    for rule in routes:
        rule.target_kwargs = with_service
    return _Prefixed(
        service,
        routes,
        default_handler_class=handlers.Unknown,
        default_handler_args=with_service,
        log_function=_log_nothing,
    )


class _Prefixed(Application):
    """Serves the API below the path prefix that is set; the desk stays where it is."""

    def __init__(self, service: Service, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._service = service

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        prefix = self._service.settings.path_prefix
        if prefix and request.path.startswith(f"{prefix}/"):
            request.path = request.path.removeprefix(prefix)
        elif prefix and request.path.startswith(("/v1", "/output")):
            return self.get_handler_delegate(request, handlers.Elsewhere, {"service": self._service})
        return super().find_handler(request, **kwargs)


def _log_nothing(_handler: RequestHandler) -> None:
    """The books tell more than a line for every request."""


class _Posted(PathMatches):
    """Matches POST requests of a path alone."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        return super().match(request) if request.method == "POST" else None


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except socket.gaierror as error:
        raise SettingsError(f"cannot serve on {host}:{port}: {error.strerror}") from None
    except OSError as error:
        raise SettingsError(f"cannot serve on {host}:{port}: {os.strerror(error.errno or 0)}") from None
    bound.setblocking(False)
    return bound


def _url_of(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
