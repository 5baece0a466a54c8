"""A TCP relay from this host's loopback to another host: `python -m tests.support.relay PORT HOST PORT`.

The address of the API is one of this machine where it is plain http; in a network namespace this stands for the TLS
that a real one has.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading


def serve(port: int, host: str, host_port: int) -> None:
    """Relay until the process ends."""
    with socket.create_server(("127.0.0.1", port)) as server:
        while True:
            near, _ = server.accept()
            threading.Thread(target=_relay, args=(near, (host, host_port)), daemon=True).start()


def _relay(near: socket.socket, address: tuple[str, int]) -> None:
    with contextlib.suppress(OSError), near, socket.create_connection(address, timeout=10) as far:
        far.settimeout(None)
        back = threading.Thread(target=_pump, args=(far, near), daemon=True)
        back.start()
        _pump(near, far)
        back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
