"""Why no answer came: the words are the same in `run`, `status`, `doctor` and exceptions."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import httpx

from replibatch.errors import ApiUnreachable, MaybeCreated, ReplibatchError

# The request never left: no connection was made, or none was free.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
PROBE_SECONDS = 1.0
_TLS_BYTES = "\\x15\\x03"  # a TLS alert, where plain HTTP was sent to a TLS port


def of_create(error: httpx.HTTPError, base_url: str) -> ReplibatchError:
    """The failure of a create without an answer: `ApiUnreachable` where surely nothing was sent, else `MaybeCreated`.

    Args:
        error: what httpx raised.
        base_url: the API's, for the words.
    """
    cause = of_read(error, base_url)
    if isinstance(error, _NEVER_SENT) or cause.is_lasting:
        return cause
    return MaybeCreated(str(cause), cause)


def of_read(error: httpx.HTTPError, base_url: str) -> ApiUnreachable:  # noqa: PLR0911  # a table
    """The failure of any other request without an answer."""
    address = _address(base_url)
    for each in _chain(error):
        if isinstance(each, socket.gaierror):
            return ApiUnreachable(f"there is no host {_host(base_url)}, or no network to ask for it", "host")
        if isinstance(each, ssl.SSLCertVerificationError):
            words = f"the certificate of {address} is not trusted ({each.verify_message}); set SSL_CERT_FILE, or "
            return ApiUnreachable(f"{words}correct REPLICATE_BASE_URL", "tls", is_lasting=True)
        if isinstance(each, ssl.SSLError) and "WRONG_VERSION" in str(each).upper().replace(" ", "_"):
            return no_tls(base_url)
        if isinstance(each, ssl.SSLError):
            return ApiUnreachable(f"no secure connection to {address} ({each.reason or each})", "tls")
        if isinstance(each, ConnectionRefusedError):
            return ApiUnreachable(f"nothing answers at {address} (connection refused)", "refused")
        if isinstance(each, OSError) and not isinstance(each, TimeoutError) and each.strerror:
            return ApiUnreachable(f"no connection to {address} ({each.strerror})", "refused")
    if isinstance(error, httpx.UnsupportedProtocol):
        words = f"REPLICATE_BASE_URL is {base_url!r}; expected: https://…"
        return ApiUnreachable(words, "scheme", is_lasting=True)
    if isinstance(error, httpx.ProxyError):
        return ApiUnreachable(f"the proxy refuses the connection to {address} ({_words(error)})", "proxy")
    if isinstance(error, httpx.ConnectTimeout):
        return ApiUnreachable(f"no connection to {address} in time", "timeout")
    if isinstance(error, httpx.TimeoutException):
        return ApiUnreachable(f"no answer from {address} in time ({_words(error)})", "timeout")
    if _TLS_BYTES in str(error):
        words = f"{address} speaks TLS; expected: https:// in REPLICATE_BASE_URL"
        return ApiUnreachable(words, "scheme", is_lasting=True)
    return ApiUnreachable(f"the connection to {address} broke off ({_words(error)})", "broken")


def no_tls(base_url: str) -> ApiUnreachable:
    """An https: address of a server that speaks plain HTTP."""
    words = f"{_address(base_url)} does not speak TLS; expected: http:// in REPLICATE_BASE_URL, or another port"
    return ApiUnreachable(words, "scheme", is_lasting=True)


def speaks_plain_http(base_url: str) -> bool:
    """Whether a server answers plain HTTP on an https: address; some wait for ever in the handshake."""
    url = httpx.URL(base_url)
    if url.scheme != "https":
        return False
    try:
        with socket.create_connection((url.host, url.port or 443), PROBE_SECONDS) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\nHost: probe\r\n\r\n")
            return connection.recv(5) == b"HTTP/"
    except OSError:
        return False


def wrong_path(base_url: str, words: str) -> ApiUnreachable:
    """A server that answers, and has no account to ask for: the base URL is not the API's."""
    if base_url.rstrip("/").endswith("/v1"):
        expected = f"expected: {base_url.rstrip('/').removesuffix('/v1')}, without /v1"
        return ApiUnreachable(f"REPLICATE_BASE_URL is {base_url}; {expected}", "path", is_lasting=True)
    words = f"there is no API at REPLICATE_BASE_URL, {_address(base_url)} ({words})"
    return ApiUnreachable(
        f"{words}; expected: https://api.replicate.com, or another server of it", "path", is_lasting=True
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _address(base_url: str) -> str:
    """The base URL without a user, password or query in it."""
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError):
        return "REPLICATE_BASE_URL"
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{url.host}{port}{url.path if url.path != '/' else ''}"


def _host(base_url: str) -> str:
    return _address(base_url).rpartition("://")[2].partition("/")[0].partition(":")[0]
