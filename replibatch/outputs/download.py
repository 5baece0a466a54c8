"""Downloads of outputs: streamed, resumed, bounded, from public addresses alone."""

from __future__ import annotations

import hashlib
import random
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import BinaryIO
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from replibatch.errors import NoOutput, NotSaved, OutputErased
from replibatch.http_connections import Connections
from replibatch.outputs.addresses import Addresses, AddressRefused
from replibatch.outputs.speed import SLOW_CONNECTIONS, Lanes, Pace, TooSlow

CONNECTIONS = 60  # downloads under way at a time, besides those that are slow
TRIES = 5
REDIRECTS = 5
FRUITLESS_TRIES = 2  # without a byte: worth telling
SUSPECT_TRIES = 2  # of a missing or empty file: one just made may take a moment to be served everywhere
LONGEST_PAUSE_SECONDS = 30.0
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 30.0
HEAD_SECONDS = 60.0  # from the request to the end of the answer's headers
WHOLE_SECONDS = 3600.0  # Replicate erases outputs an hour after they were made
LARGEST_BYTES = 4 * 1024**3  # of one file
CHUNK_BYTES = 256 * 1024  # written at a time, decompressed or not

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_FILES = re.compile(r"files/[A-Za-z0-9_-]{1,128}(/download)?")  # below the API's `/v1/`


class Downloader:
    """Downloads for one worker process. Thread-safe; make one a process, after any fork.

    Args:
        api_url: the API's server, without `/v1`. Its files are fetched wherever it is; all others must be on public
            addresses.
        authorization: the account's token; sent for the files of the API alone, where the caller says that the API
            issued the address, and never on after a redirect.
        pause_seconds: before the second try; doubled before each further one.
        own: further servers to fetch files from, even at private addresses.
        on_trouble: called after a second try without a byte, with the cause: other downloads may meet it, too.
    """

    def __init__(
        self,
        api_url: str,
        authorization: SecretStr | None,
        *,
        pause_seconds: float = 0.5,
        own: Sequence[str] = (),
        on_trouble: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._api = httpx.URL(api_url.rstrip("/") + "/v1/")
        self._authorization = authorization
        self._pause_seconds = pause_seconds
        self._on_trouble = on_trouble
        self._closed = threading.Event()
        self._lanes = Lanes(CONNECTIONS, SLOW_CONNECTIONS, self._closed)
        addresses = Addresses([api_url, *own])
        self._client = httpx.Client(
            transport=Connections(
                idle_seconds=30,
                head_seconds=HEAD_SECONDS,
                address_of=lambda url, is_proxied: addresses.address_of(url, is_proxied=is_proxied),
            ),
            timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
            # Lengths and ranges are then those of the file itself.
            headers={"Accept": "*/*", "Accept-Encoding": "identity"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # servers of others leave nothing here
        )

    def fetch(
        self,
        url: str,
        file: BinaryIO,
        *,
        missing_is_erased: bool = False,
        is_issued: bool = False,
        largest_bytes: int = LARGEST_BYTES,
    ) -> str:
        """Download a file, trying again, and going on where it stopped, after what may pass.

        Args:
            url: its `http:` or `https:` address.
            file: open for writing, empty, and seekable; holds exactly the file in the end.
            missing_is_erased: whether a 404 or 410 means that Replicate has erased it.
            is_issued: whether the address is one the API gave out as a file's, not a text that a model wrote.
            largest_bytes: of the file.

        Returns:
            The hash of its bytes, in hexadecimal.

        Raises:
            NoOutput: it is empty.
            OutputErased: it is not there, and `missing_is_erased`.
            NotSaved: it could not be had, for the reason given.
            OSError: it could not be written.
        """
        download = _Download(url, file, is_issued=is_issued, largest_bytes=largest_bytes)
        ends = time.monotonic() + WHOLE_SECONDS
        number = 0
        while number < TRIES:
            number += 1
            try:
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
            except (AddressRefused, TooSlow, httpx.InvalidURL, httpx.HTTPError, RuntimeError, ValueError) as error:
                # RuntimeError: the client is closed
                raise NotSaved(f"{_shown(url)} could not be downloaded: {_words(error)}") from error
        raise AssertionError("unreachable")

    def close(self) -> None:
        """End every download, with `NotSaved`, and close the connections."""
        self._closed.set()
        self._client.close()

    def _go_on(self, download: _Download, ends: float) -> None:
        """One request for the bytes still missing."""
        with self._lanes.entered() as lane, self._answer(download) as response:
            if response.status_code == 416:
                download.start_over()
                raise _Damaged("the server no longer has the part that is missing")
            response.raise_for_status()
            download.begin(response)
            pace = Pace()
            for chunk in _pieces(response, lambda count: lane.keep_up(pace, count)):
                if self._closed.is_set() or time.monotonic() > ends:
                    raise NotSaved(f"{_shown(download.url)}: " + ("stopped" if self._closed.is_set() else "too slow"))
                download.write(chunk)

    @contextmanager
    def _answer(self, download: _Download) -> Iterator[httpx.Response]:
        """The answer to a request for the missing bytes, after redirects: checks each redirect, reads no body."""
        request = self._client.build_request("GET", download.url, headers=download.range_headers())
        if download.is_issued and self._authorization and self._is_file_of_the_api(request.url):
            request.headers["Authorization"] = f"Bearer {self._authorization.get_secret_value()}"
        for _ in range(REDIRECTS + 1):
            self._refuse_the_api(request.url)
            response = self._client.send(request, stream=True, auth=None)
            try:
                following = response.next_request
                if following is None:
                    yield response
                    return
            finally:
                response.close()
            if request.url.scheme == "https" and following.url.scheme != "https":
                raise AddressRefused("a redirect from https: to http:")
            following.headers.pop("Authorization", None)
            request = following
        raise httpx.TooManyRedirects(f"more than {REDIRECTS} redirects", request=request)

    def _refuse_the_api(self, url: httpx.URL) -> None:
        """No output is what the API answers; only its files can be one.

        Raises:
            AddressRefused: the address is another one of the API's.
        """
        if self._path_of_the_api(url) is not None and not self._is_file_of_the_api(url):
            raise AddressRefused("an address of the API is no file; expected: a file's address")

    def _is_file_of_the_api(self, url: httpx.URL) -> bool:
        path = self._path_of_the_api(url)
        return path is not None and _FILES.fullmatch(path) is not None

    def _path_of_the_api(self, url: httpx.URL) -> str | None:
        """What an address names below the API's `/v1/`; None where it is another server's, or not below that."""
        same_server = (url.scheme, url.host, url.port) == (self._api.scheme, self._api.host, self._api.port)
        path = url.raw_path.decode("ascii").partition("?")[0]
        start = self._api.raw_path.decode("ascii")
        return path[len(start) :] if same_server and path.startswith(start) else None

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

    def __init__(self, url: str, file: BinaryIO, *, is_issued: bool, largest_bytes: int) -> None:
        self.url = url
        self.is_issued = is_issued
        self._largest_bytes = largest_bytes
        self._file = file
        self._resumable = False
        self._validator: str | None = None
        self._total: int | None = None
        self._hash = hashlib.sha256()
        self._position = 0

    @property
    def has_begun(self) -> bool:
        """Whether its first byte has come."""
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
        """Take up a response: the rest of the file, or the whole file."""
        if response.status_code == 206:
            part = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if not part or (int(part[1]), int(part[2])) != (self._position, self._total):
                self._resumable = False
                raise _Damaged("the server sent another part than it was asked for")
            return
        self.start_over()
        headers = response.headers
        length = headers.get("Content-Length", "")
        self._total = int(length) if length.isdecimal() and len(length) < 20 else None
        if self._total is not None:
            self._refuse_past(self._total)
        self._validator = headers.get("ETag") or headers.get("Last-Modified")
        self._resumable = (
            headers.get("Accept-Ranges") == "bytes" and self._total is not None and "Content-Encoding" not in headers
        )
        if self._validator and self._validator.startswith("W/"):  # a weak one promises no equal bytes
            self._resumable = False

    def write(self, chunk: bytes) -> None:
        self._refuse_past(self._position + len(chunk))
        self._file.write(chunk)
        self._hash.update(chunk)
        self._position += len(chunk)

    def _refuse_past(self, size: int) -> None:
        if size > self._largest_bytes:
            raise NotSaved(
                f"{_shown(self.url)} is larger than {self._largest_bytes / 1e6:,.0f} MB; expected: no more than that"
            )

    def sha256(self) -> str:
        if not self._position:
            raise NoOutput(f"the output {_shown(self.url)} is empty")
        self._file.flush()
        return self._hash.hexdigest()


def _pieces(response: httpx.Response, count: Callable[[int], None]) -> Iterator[bytes]:
    """The body, never more than `CHUNK_BYTES` at a time; one that comes compressed, unasked, is unpacked likewise.

    Args:
        response: the answer.
        count: called with the number of bytes of each piece, as they come.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        unpacker = None
    elif encoding in ("gzip", "x-gzip", "deflate"):
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)  # of either form, by its head
    else:
        raise ValueError(f"it is encoded as {encoding[:40]!r}; expected: no encoding, as asked for")
    for raw in response.iter_raw():
        count(len(raw))
        if unpacker is None:
            yield raw
            continue
        try:
            packed = raw
            while packed:
                yield unpacker.decompress(packed, CHUNK_BYTES)
                packed = unpacker.unconsumed_tail
        except zlib.error as error:
            raise _Damaged(f"its compression is damaged: {error}") from error
    if unpacker is not None and not unpacker.eof:
        raise _Damaged("its compression ends early")


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
