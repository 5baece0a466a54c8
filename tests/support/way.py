"""The way to a server: a proxy that passes on, refuses, or swallows what it is sent."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from typing import Self


class Way:
    """A TCP proxy on a port of its own.

    Args:
        port: of the server behind it, on this machine.

    Attributes:
        url: its address.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener: socket.socket | None = None
        self._is_silent = False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._mine = self._listen(0)
        self.url = f"http://127.0.0.1:{self._mine}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()

    def refuse(self) -> None:
        """No connection is made any more, and those there are break."""
        listener, self._listener = self._listener, None
        if listener:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            for each in list(self._open):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def swallow(self) -> None:
        """Connections are made, and nothing ever comes back."""
        self.refuse()
        self._is_silent = True
        self._listen(self._mine)

    def pass_on(self) -> None:
        """As in the beginning."""
        self.refuse()
        self._is_silent = False
        self._listen(self._mine)

    def _listen(self, port: int) -> int:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(512)
        self._listener = listener
        threading.Thread(target=self._accept, args=[listener], daemon=True).start()
        return int(listener.getsockname()[1])

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(client)
            if not self._is_silent:
                threading.Thread(target=self._pass, args=[client], daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._port))
        except OSError:
            client.close()
            return
        with self._lock:
            self._open.add(server)
        with selectors.DefaultSelector() as ready, client, server, contextlib.suppress(OSError):
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            is_open = True
            while is_open:
                for key, _ in ready.select():
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]  # they are sockets
                    if not data:
                        is_open = False
                        break
                    key.data.sendall(data)
        with self._lock:
            self._open -= {client, server}
