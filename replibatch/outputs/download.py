"""Downloads of outputs: streamed, resumed, and without the account's token to anybody but the API."""

from __future__ import annotations

import hashlib
import random
import re
import threading
import time
from collections.abc import Callable
from typing import BinaryIO
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from replibatch.errors import NoOutput, NotSaved, OutputErased
from replibatch.http_connections import Connections

CONNECTIONS = 20  # downloads under way at a time
TRIES = 5
FRUITLESS_TRIES = 2  # without a byte: worth telling
SUSPECT_TRIES = 2  # of what is missing or empty: a file just made may take a moment to be served everywhere
LONGEST_PAUSE_SECONDS = 30.0
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 30.0
WHOLE_SECONDS = 3600.0  # Replicate erases outputs an hour after they were made

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


class Downloader:
    """Downloads for one worker process. Thread-safe; make one a process, after any fork.

    Args:
        api_url: the API's server, without `/v1`; its files need the token.
        authorization: the account's token; sent to that server's `/v1/` alone, and never on after a redirect.
        pause_seconds: before the second try; doubled before each further one.
        on_trouble: called after a second try without a byte, with the cause: others may meet it, too.
    """

    def __init__(
        self,
        api_url: str,
        authorization: SecretStr | None,
        *,
        pause_seconds: float = 0.5,
        on_trouble: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._api = httpx.URL(api_url.rstrip("/") + "/v1/")
        self._authorization = authorization
        self._pause_seconds = pause_seconds
        self._on_trouble = on_trouble
        self._closed = threading.Event()
        self._connections = threading.BoundedSemaphore(CONNECTIONS)
        self._client = httpx.Client(
            follow_redirects=True,
            transport=Connections(idle_seconds=30),
            timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
            # Lengths and ranges are then those of the file itself.
            headers={"Accept": "*/*", "Accept-Encoding": "identity"},
            event_hooks={"request": [self._guard_token]},
        )

    def fetch(self, url: str, file: BinaryIO, *, missing_is_erased: bool = False) -> str:
        """Download a file, trying again, and going on where it stopped, after what may pass.

        Args:
            url: its `http:` or `https:` address.
            file: open for writing, empty, and seekable; holds exactly the file in the end.
            missing_is_erased: whether a 404 or 410 means that Replicate has erased it.

        Returns:
            The hash of its bytes, in hexadecimal.

        Raises:
            NoOutput: it is empty.
            OutputErased: it is not there, and `missing_is_erased`.
            NotSaved: it could not be had, for the reason given.
            OSError: it could not be written.
        """
        download = _Download(url, file)
        ends = time.monotonic() + WHOLE_SECONDS
        for number in range(1, TRIES + 1):
            try:
                with self._connections:
                    self._go_on(download, ends)
                return download.sha256()
            except httpx.HTTPStatusError as error:
                refusal = error.response
                missing = refusal.status_code in (404, 410)
                if missing and (number >= SUSPECT_TRIES or refusal.status_code == 410):
                    failure = OutputErased if missing_is_erased else NotSaved
                    raise failure(f"{_shown(url)} is not there any more (HTTP {refusal.status_code})") from error
                if number == TRIES or not (missing or _may_pass(refusal.status_code)):
                    raise NotSaved(f"{_shown(url)} answered HTTP {refusal.status_code}") from error
                self._tell(number, download, f"HTTP {refusal.status_code}")
                self._pause(number, refusal.headers.get("Retry-After"))
            except (httpx.TransportError, _Damaged) as error:
                if number == TRIES or isinstance(error, httpx.UnsupportedProtocol):
                    raise NotSaved(f"{_shown(url)} could not be downloaded: {_words(error)}") from error
                self._tell(number, download, _words(error))
                self._pause(number)
            except NoOutput:
                if number >= SUSPECT_TRIES:
                    raise
                self._pause(number)
            except (httpx.InvalidURL, httpx.HTTPError, RuntimeError) as error:  # RuntimeError: the client is closed
                raise NotSaved(f"{_shown(url)} could not be downloaded: {_words(error)}") from error
        raise AssertionError("unreachable")

    def close(self) -> None:
        """End every download, with `NotSaved`, and close the connections."""
        self._closed.set()
        self._client.close()

    def _go_on(self, download: _Download, ends: float) -> None:
        """One request for what is still missing."""
        headers = download.range_headers()
        if self._authorization and self._is_api(httpx.URL(download.url)):
            headers["Authorization"] = f"Bearer {self._authorization.get_secret_value()}"
        with self._client.stream("GET", download.url, headers=headers) as response:
            if response.status_code == 416:
                download.start_over()
                raise _Damaged("the server no longer has the part that is missing")
            response.raise_for_status()
            download.begin(response)
            for chunk in response.iter_bytes():
                if self._closed.is_set() or time.monotonic() > ends:
                    raise NotSaved(f"{_shown(download.url)}: " + ("stopped" if self._closed.is_set() else "too slow"))
                download.write(chunk)

    def _guard_token(self, request: httpx.Request) -> None:
        """Called for every request, those after a redirect too."""
        if not self._is_api(request.url):
            request.headers.pop("Authorization", None)

    def _is_api(self, url: httpx.URL) -> bool:
        same_server = (url.scheme, url.host, url.port) == (self._api.scheme, self._api.host, self._api.port)
        return same_server and url.path.startswith(self._api.path)

    def _tell(self, number: int, download: _Download, cause: str) -> None:
        if number == FRUITLESS_TRIES and not download.has_begun:
            self._on_trouble(f"{_shown(download.url)}: {cause}")

    def _pause(self, number: int, retry_after: str | None = None) -> None:
        seconds = self._pause_seconds * 2 ** (number - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
        if retry_after and retry_after.isdigit():
            seconds = max(seconds, float(retry_after))
        self._closed.wait(min(seconds, LONGEST_PAUSE_SECONDS))


class _Damaged(Exception):
    """What came is not what was asked for; asking again may help."""


class _Download:
    """One file over several requests."""

    def __init__(self, url: str, file: BinaryIO) -> None:
        self.url = url
        self._file = file
        self._resumable = False
        self._validator: str | None = None
        self._total: int | None = None
        self._hash = hashlib.sha256()
        self._position = 0

    @property
    def has_begun(self) -> bool:
        """Whether a byte of it has come."""
        return self._position > 0

    def start_over(self) -> None:
        if self._position:
            self._file.seek(0)
            self._file.truncate()
        self._hash = hashlib.sha256()
        self._position = 0

    def range_headers(self) -> dict[str, str]:
        """Ask for the rest alone, where the server said that it serves parts."""
        if not (self._position and self._resumable):
            return {}
        headers = {"Range": f"bytes={self._position}-"}
        return headers | ({"If-Range": self._validator} if self._validator else {})

    def begin(self, response: httpx.Response) -> None:
        """Take up a response: the rest of the file, or all of it."""
        if response.status_code == 206:
            part = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if not part or (int(part[1]), int(part[2])) != (self._position, self._total):
                self._resumable = False
                raise _Damaged("the server sent another part than it was asked for")
            return
        self.start_over()
        headers = response.headers
        length = headers.get("Content-Length", "")
        self._total = int(length) if length.isdigit() else None
        self._validator = headers.get("ETag") or headers.get("Last-Modified")
        self._resumable = (
            headers.get("Accept-Ranges") == "bytes" and self._total is not None and "Content-Encoding" not in headers
        )
        if self._validator and self._validator.startswith("W/"):  # a weak one promises no equal bytes
            self._resumable = False

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._hash.update(chunk)
        self._position += len(chunk)

    def sha256(self) -> str:
        if not self._position:
            raise NoOutput(f"the output {_shown(self.url)} is empty")
        self._file.flush()
        return self._hash.hexdigest()


def _may_pass(status: int) -> bool:
    return status in (408, 425, 429) or status >= 500


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _shown(url: str) -> str:
    """An address without what may be secret in it: its query and its user."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    except ValueError:
        return "the output's address"
