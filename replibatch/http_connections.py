"""HTTP connections of one process: each request has one to itself, of those that are idle the last used."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast
from urllib.request import getproxies, proxy_bypass

import httpx

Origin = tuple[str, str, int | None]


class Connections(httpx.BaseTransport):
    """A transport for `httpx.Client`. Thread-safe; how many there are is for the callers to bound.

    Instead of httpx's own pool, which asks the socket of every idle connection before and after each request whether
    it is still there: with 20 of them 45 system calls a generation, at each of which another thread takes over.

    Args:
        idle_seconds: a connection that was not used for that long is not used again.
        socket_options: set on each socket, as `socket.setsockopt` takes them.
    """

    def __init__(self, *, idle_seconds: float, socket_options: Sequence[tuple[int, int, bytes]] = ()) -> None:
        self._idle_seconds = idle_seconds
        self._socket_options = socket_options
        self._certificates = httpx.create_ssl_context()  # takes longer than a request: once for all
        self._lock = threading.Lock()
        self._idle: dict[Origin, deque[tuple[float, httpx.HTTPTransport]]] = defaultdict(deque)
        self._busy: set[httpx.HTTPTransport] = set()
        self._closed = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        origin = (request.url.scheme, request.url.host, request.url.port)
        connection = self._take(origin)
        try:
            response = connection.handle_request(request)
        except BaseException:
            self._give_back(origin, connection)
            raise
        body = cast("httpx.SyncByteStream", response.stream)
        response.stream = _Stream(body, lambda: self._give_back(origin, connection))
        return response

    def close(self) -> None:
        """Close all of them, those in use too: what is being read fails."""
        with self._lock:
            self._closed = True
            connections = [*self._busy, *(each for idle in self._idle.values() for _, each in idle)]
            self._idle.clear()
        for connection in connections:
            connection.close()

    def _take(self, origin: Origin) -> httpx.HTTPTransport:
        stale = []
        with self._lock:
            if self._closed:
                raise httpx.ConnectError("the connections are closed")
            idle = self._idle[origin]
            while idle and idle[0][0] < time.monotonic() - self._idle_seconds:
                stale.append(idle.popleft()[1])
            connection = idle.pop()[1] if idle else self._new(origin)
            self._busy.add(connection)
        for each in stale:
            each.close()
        return connection

    def _give_back(self, origin: Origin, connection: httpx.HTTPTransport) -> None:
        with self._lock:
            if connection in self._busy and not self._closed:
                self._idle[origin].append((time.monotonic(), connection))
            self._busy.discard(connection)

    def _new(self, origin: Origin) -> httpx.HTTPTransport:
        return httpx.HTTPTransport(
            verify=self._certificates,
            limits=httpx.Limits(max_connections=1, keepalive_expiry=self._idle_seconds),
            proxy=_proxy_for(origin),
            socket_options=self._socket_options,
        )


def _proxy_for(origin: Origin) -> str | None:
    """What `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY` and the like say."""
    scheme, host, _ = origin
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or proxy_bypass(host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


class _Stream(httpx.SyncByteStream):
    """A response's body; its connection is idle again once it is closed."""

    def __init__(self, body: httpx.SyncByteStream, give_back: Callable[[], Any]) -> None:
        self._body = body
        self._give_back = give_back

    def __iter__(self) -> Iterator[bytes]:
        yield from self._body

    def close(self) -> None:
        try:
            self._body.close()
        finally:
            self._give_back()
