"""HTTP connections of one process: each request has one to itself, of those that are idle the last used."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from typing import cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from replibatch.errors import SettingsError

Origin = tuple[str, str, int | None]
AddressOf = Callable[[httpx.URL, bool], str | None]
Way = tuple[Origin, str | None, str | None]  # to a server: its origin, a proxy, an IP address

SAFE_METHODS = ("GET", "HEAD")  # sent again on a new connection; anything else could take effect twice


class Connections(httpx.BaseTransport):
    """A transport for `httpx.Client`. Thread-safe; there are as many as there are requests at a time.

    Instead of httpx's own pool, which asks the socket of every idle connection before and after each request whether
    it is still there: with 20 idle ones 45 system calls a generation, at each of which another thread takes over.

    Args:
        idle_seconds: a connection that was not used for that long is not used again.
        socket_options: set on each socket, as `socket.setsockopt` takes them.
        head_seconds: the longest an answer's status and headers may take; a byte now and then is no answer.
        address_of: called with each request's URL, and whether a proxy makes the connection; returns the IP address
            to connect to, or None for the host as it is named. What it raises goes to the caller.

    Raises:
        SettingsError: the environment names a proxy that cannot be used.
    """

    def __init__(
        self,
        *,
        idle_seconds: float,
        socket_options: Sequence[tuple[int, int, bytes]] = (),
        head_seconds: float | None = None,
        address_of: AddressOf | None = None,
    ) -> None:
        self._idle_seconds = idle_seconds
        self._head_seconds = head_seconds
        self._address_of = address_of
        self._socket_options = socket_options
        self._certificates = httpx.create_ssl_context()  # takes longer than a request: once for all
        self._lock = threading.Lock()
        self._idle: dict[Way, deque[tuple[float, httpx.HTTPTransport]]] = defaultdict(deque)
        self._busy: set[httpx.HTTPTransport] = set()
        self._closed = False
        for name, proxy in getproxies().items():
            if name in ("http", "https", "all"):
                self._try(name, proxy)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        origin = (request.url.scheme, request.url.host, request.url.port)
        proxy = _proxy_for(origin)
        address = self._address_of(request.url, proxy is not None) if self._address_of else None
        way = (origin, proxy, address)
        if address:
            request = _sent_to(address, request)
        connection, was_idle = self._take(way)
        try:
            response = self._handle(connection, request)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            if not was_idle or request.method not in SAFE_METHODS:
                raise
            # The server closed it while it was idle, and the news of that came too late.
            connection, _ = self._take(way, anew=True)
            response = self._handle(connection, request)
        response.stream = _Stream(
            cast("httpx.SyncByteStream", response.stream),
            lambda: self._give_back(way, connection),
            lambda: self._drop(connection),
        )
        return response

    def close(self) -> None:
        """Close every connection, in use or idle: reads under way fail."""
        with self._lock:
            self._closed = True
            connections = [*self._busy, *(each for idle in self._idle.values() for _, each in idle)]
            self._idle.clear()
        for connection in connections:
            connection.close()

    def _handle(self, connection: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        watch = threading.Timer(self._head_seconds, connection.close) if self._head_seconds else None
        if watch:
            watch.daemon = True
            watch.start()
        try:
            return connection.handle_request(request)
        except BaseException as error:
            self._drop(connection)
            if watch and watch.finished.is_set():  # closed under its feet: whatever it raised, that is why
                raise httpx.ReadTimeout(f"no answer within {self._head_seconds:.0f} s", request=request) from error
            raise
        finally:
            if watch:
                watch.cancel()

    def _take(self, way: Way, *, anew: bool = False) -> tuple[httpx.HTTPTransport, bool]:
        """A connection, and whether it was idle before; a new one if `anew`."""
        with self._lock:
            if self._closed:
                raise httpx.ConnectError("the connections are closed")
            stale = self._pop_stale()
            idle = self._idle[way]
            was_idle = bool(idle) and not anew
            connection = idle.pop()[1] if was_idle else self._new(way[1])
            self._busy.add(connection)
        for each in stale:
            each.close()
        return connection, was_idle

    def _pop_stale(self) -> list[httpx.HTTPTransport]:
        """Connections idle for too long, of any server; each server's longest idle come first."""
        oldest, stale = time.monotonic() - self._idle_seconds, []
        for way, idle in list(self._idle.items()):
            while idle and idle[0][0] < oldest:
                stale.append(idle.popleft()[1])
            if not idle:
                del self._idle[way]
        return stale

    def _give_back(self, way: Way, connection: httpx.HTTPTransport) -> None:
        with self._lock:
            if connection in self._busy and not self._closed:
                self._idle[way].append((time.monotonic(), connection))
            self._busy.discard(connection)

    def _drop(self, connection: httpx.HTTPTransport) -> None:
        """What failed is not used again: not all that goes wrong, a proxy's handshake say, leaves it fit for use."""
        with self._lock:
            self._busy.discard(connection)
        connection.close()

    def _new(self, proxy: str | None) -> httpx.HTTPTransport:
        return httpx.HTTPTransport(
            verify=self._certificates,
            limits=httpx.Limits(max_connections=1, keepalive_expiry=self._idle_seconds),
            proxy=proxy,
            socket_options=self._socket_options,
        )

    def _try(self, name: str, proxy: str) -> None:
        """See at the start, not once an output is paid for, whether a proxy can be used."""
        try:
            self._new(_with_scheme(proxy)).close()
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            kind = urlsplit(_with_scheme(proxy)).scheme
            raise SettingsError(
                f"{name.upper()}_PROXY: a proxy of the kind {kind!r} cannot be used here ({type(error).__name__}); "
                "allowed: http:// and https://"
            ) from error


class _Stream(httpx.SyncByteStream):
    """A response's body. Once it is closed its connection is idle again; one that broke off is dropped."""

    def __init__(self, body: httpx.SyncByteStream, give_back: Callable[[], None], drop: Callable[[], None]) -> None:
        self._body = body
        self._give_back = give_back
        self._drop = drop

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._body
        except Exception:  # whatever broke it off; goes on to the reader
            self._drop()
            raise

    def close(self) -> None:
        try:
            self._body.close()
        except BaseException:
            self._drop()
            raise
        self._give_back()


def _sent_to(address: str, request: httpx.Request) -> httpx.Request:
    """The same request over a connection to an IP address; the server's certificate is still that of the name."""
    name = request.url.raw_host.decode("ascii")
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,  # `Host` among them, with the name
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": name},
    )


def _proxy_for(origin: Origin) -> str | None:
    """What `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY` and the like say."""
    scheme, host, port = origin
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    direct = [each.strip() for each in proxies.get("no", "").split(",")]
    if not proxy or "*" in direct or f"{host}:{port}" in direct or proxy_bypass(host):
        return None
    return _with_scheme(proxy)


def _with_scheme(proxy: str) -> str:
    return proxy if "://" in proxy else f"http://{proxy}"
