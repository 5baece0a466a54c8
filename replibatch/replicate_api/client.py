"""The adapter of the replicate package, httpx and httpcore: the one place that uses their private names.

Private names in use: `replicate.client.Client._request` and `._client` (1.0.7), the request extension `trace` of
httpcore 1.0. `tests/unit/test_api_client.py` says what breaks when one moves.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from pydantic import SecretStr
from replicate import client as replicate

from replibatch.errors import NotCreated
from replibatch.http_connections import Connections
from replibatch.replicate_api.answers import Answer

IDLE_SECONDS = 4
MOST_BODY_BYTES = 64 * 1024 * 1024  # a page of 100 rows is 3 MB; some models answer with the file itself
LONGEST_BODY_SECONDS = 60.0
BODY_SECONDS = "body_seconds"  # an extension of a request: a shorter bound
_OF_TRANSPORT = ("content-encoding", "content-length", "transfer-encoding")  # of the body as it was sent

# Close hard: bytes that are unsent when a socket is closed are never sent later.
_LINGER_ZERO = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Refusal(Exception):
    """An answer that is not 2xx, whole; raised below the replicate client, as its own error loses the headers."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__(f"HTTP {answer.status}")


class Client:
    """Sends requests with the account's token. Thread-safe; make one a process, after any fork.

    Args:
        base_url: the server, without `/v1`.
        token: the account's.
        timeout: of every request that brings none of its own.
    """

    def __init__(self, base_url: str, token: SecretStr, timeout: httpx.Timeout) -> None:
        self._transport = _Transport()
        self._client = replicate.Client(
            api_token=token.get_secret_value(), base_url=base_url, timeout=timeout, transport=self._transport
        )
        # The package makes its httpx client at first use; threads that share it would race.
        self._http: httpx.Client = self._client._client

    def request(self, method: str, path: str, **content: Any) -> Answer:
        """Send one request.

        Args:
            method: GET or POST.
            path: below the base URL.
            content: `json`, `files`, `headers`, `extensions` of httpx.

        Returns:
            The answer, read to its end, where its status is 2xx.

        Raises:
            Refusal: any other answer.
            httpx.HTTPError: no answer came, or it was too large or too slow.
        """
        response = self._client._request(method, path, **content)
        return Answer(response.status_code, response.headers, response.content, str(response.url))

    def now(self) -> datetime:
        """The server's time, never later than it is there; this machine's before its first answer."""
        heard = self._transport.heard
        if heard is None:
            return datetime.now(UTC)
        server_time, at = heard
        return server_time + timedelta(seconds=time.monotonic() - at)

    def close(self) -> None:
        """Close every connection."""
        self._http.close()


class _Transport(httpx.BaseTransport):
    """Reads answers within bounds, and raises refusals below the replicate client and its retry loop.

    Attributes:
        heard: the server's time in its latest answer, and when that came on the monotonic clock.
    """

    def __init__(self) -> None:
        self.heard: tuple[datetime, float] | None = None
        self._inner = Connections(idle_seconds=IDLE_SECONDS, socket_options=[_LINGER_ZERO])

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._inner.handle_request(request)
        content = _read(response, request)
        with suppress(TypeError, ValueError):  # `Date` is whole seconds, rounded down
            date = parsedate_to_datetime(response.headers.get("date") or "")
            self.heard = date.astimezone(UTC), time.monotonic()
        if not 200 <= response.status_code < 300:
            raise Refusal(Answer(response.status_code, response.headers, content, str(request.url)))
        headers = {name: value for name, value in response.headers.items() if name not in _OF_TRANSPORT}
        return httpx.Response(response.status_code, headers=headers, content=content)

    def close(self) -> None:
        self._inner.close()


def _read(response: httpx.Response, request: httpx.Request) -> bytes:
    """The whole body, decompressed, within its bounds; a server can send for ever, a byte at a time."""
    seconds = request.extensions.get(BODY_SECONDS, LONGEST_BODY_SECONDS)
    ends = time.monotonic() + seconds
    chunks, size = [], 0
    try:
        for chunk in response.iter_bytes():
            chunks.append(chunk)
            size += len(chunk)
            if size > MOST_BODY_BYTES:
                raise httpx.ReadError(f"more than {MOST_BODY_BYTES:,} bytes", request=request)
            if time.monotonic() > ends:
                raise httpx.ReadTimeout(f"the body not at its end after {seconds:g} s", request=request)
    except httpx.DecodingError as error:
        raise httpx.ReadError(f"it cannot be decompressed: {error}", request=request) from error
    finally:
        response.close()
    return b"".join(chunks)


def check_before_sending(may_send: Callable[[], bool]) -> Callable[[str, Any], None]:
    """A `trace` of httpcore that asks, once a connection is there and before a byte is written, whether to send.

    Connecting may take seconds, in which the process may stand still.

    Args:
        may_send: False ends the request with `NotCreated`.
    """

    def trace(event: str, _info: Any) -> None:
        if event.endswith("send_request_headers.started") and not may_send():
            raise NotCreated("this process was silent for longer than its lease; the create was not sent")

    return trace
