"""A small HTTP server of files for the tests of downloads, with faults to order and a book of what was asked."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Reply = Callable[["Handler"], None]


@dataclass
class FileServer:
    """Serves what `serve` was given; each path answers with its replies in turn, the last one for good.

    Attributes:
        requests: every request, as its path and headers, in order.
        open: how many connections there are.
    """

    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    open: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    _replies: dict[str, list[Reply]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.book = self  # type: ignore[attr-defined]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def serve(self, path: str, *replies: Reply) -> str:
        """Answer a path with these; returns its address."""
        self._replies[path] = list(replies)
        return self.url + path

    def forget(self) -> None:
        """Start afresh, with nothing to serve."""
        self.requests.clear()
        self._replies.clear()

    def asked(self, path: str) -> list[dict[str, str]]:
        """The headers of each request for a path."""
        return [headers for asked, headers in self.requests if asked == path]

    def reply_to(self, handler: Handler) -> None:
        self.requests.append((handler.path, {name.lower(): value for name, value in handler.headers.items()}))
        replies = self._replies.get(handler.path) or [status(404)]
        (replies.pop(0) if len(replies) > 1 else replies[0])(handler)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # many connect at once

    def handle_error(self, *_: Any) -> None:
        """Keep quiet: a client that turns away is what some tests are about."""


class Handler(BaseHTTPRequestHandler):
    """Passes each request on to its server's book."""

    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        book = self.server.book  # type: ignore[attr-defined]
        with book.lock:
            book.open += 1
        try:
            super().handle()
        finally:
            with book.lock:
                book.open -= 1

    def do_GET(self) -> None:
        self.server.book.reply_to(self)  # type: ignore[attr-defined]

    do_POST = do_GET  # noqa: N815  # the names are http.server's

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def send(self, code: int, headers: dict[str, str], body: bytes = b"") -> None:
        """Answer; a body shorter than its `Content-Length` ends with the connection."""
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        self.close_connection = int(headers.get("Content-Length", len(body))) != len(body)


def content(body: bytes, kind: str = "image/png") -> Reply:
    """The whole file, whatever part was asked for."""
    return lambda handler: handler.send(200, {"Content-Type": kind}, body)


def status(code: int, **headers: str) -> Reply:
    """An answer without a file; underscores in header names stand for hyphens."""
    return lambda handler: handler.send(code, {name.replace("_", "-"): value for name, value in headers.items()})


def redirect(url: str) -> Reply:
    """To another address."""
    return status(302, Location=url)


def parts_of(
    body: bytes, *, etag: str | None = '"1"', most: int | None = None, shift: int = 0, ranges: bool = True
) -> Reply:
    """A file that is served in parts.

    Args:
        body: the file.
        etag: its validator.
        most: the connection breaks after so many bytes; None serves all that is asked for.
        shift: parts start so many bytes off.
        ranges: whether the server says that it serves parts.
    """

    def reply(handler: Handler) -> None:
        headers = {"Accept-Ranges": "bytes"} if ranges else {}
        headers |= {"ETag": etag} if etag else {}
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        same = handler.headers.get("If-Range", etag) == etag
        start = int(asked[1]) + shift if asked and same else 0
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        headers["Content-Length"] = str(len(body) - start)
        rest = body[start:] if most is None else body[start : start + most]
        handler.send(206 if start else 200, headers, rest)

    return reply
