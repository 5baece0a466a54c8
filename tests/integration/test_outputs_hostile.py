"""Downloads from servers that mean harm: bounded in size, time and memory, and never into a private network."""

from __future__ import annotations

import gzip
import io
import threading
import time
from collections.abc import Iterator

import pytest

from replibatch.errors import NotSaved
from replibatch.http_connections import Connections
from replibatch.outputs import addresses, download, speed
from replibatch.outputs.download import CHUNK_BYTES, Downloader
from tests.support.file_server import FileServer, Handler, content, redirect


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[FileServer, FileServer]]:
    with FileServer() as one, FileServer() as other:
        yield one, other


@pytest.fixture
def server(servers: tuple[FileServer, FileServer]) -> FileServer:
    servers[0].forget()
    return servers[0]


@pytest.fixture
def inner(servers: tuple[FileServer, FileServer]) -> FileServer:
    """A server of the private network, with a secret."""
    servers[1].forget()
    servers[1].serve("/secret", content(b"secret"))
    return servers[1]


@pytest.fixture
def downloader(server: FileServer) -> Iterator[Downloader]:
    downloader = Downloader(server.url, None, pause_seconds=0.001)
    yield downloader
    downloader.close()


class Sink(io.BytesIO):
    """Counts, and keeps nothing."""

    total = largest = 0

    def write(self, data) -> int:
        self.total += len(data)
        self.largest = max(self.largest, len(data))
        return len(data)


def test_nothing_is_fetched_from_a_private_address(inner: FileServer, downloader: Downloader) -> None:
    for url in (inner.url, inner.url.replace("127.0.0.1", "localhost"), inner.url.replace("127.0.0.1", "127.1")):
        with pytest.raises(NotSaved, match="public address"):
            downloader.fetch(f"{url}/secret", Sink())
    assert inner.requests == []


def test_a_redirect_leads_to_none_either(server: FileServer, inner: FileServer, downloader: Downloader) -> None:
    with pytest.raises(NotSaved, match="public address"):
        downloader.fetch(server.serve("/fox.png", redirect(f"{inner.url}/secret")), Sink())
    assert inner.requests == []


def test_a_name_that_changes_its_mind_is_connected_to_where_it_was_checked(
    inner: FileServer, downloader: Downloader, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    port = int(inner.url.rpartition(":")[2])

    def rebinding(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        nonlocal asked
        asked += 1
        return [(0, 0, 0, "", ("192.0.2.7" if asked == 1 else "127.0.0.1", port))]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(addresses, "is_public", lambda address: str(address) == "192.0.2.7")
    monkeypatch.setattr(download, "TRIES", 1)
    connected: list[str] = []
    handle = Connections._handle  # the request as it goes out

    def noted(self: Connections, connection: object, request: object) -> object:
        connected.append(f"{request.url.host} {request.headers['Host']} {request.extensions.get('sni_hostname')}")
        raise download.httpx.ConnectError("not here")

    monkeypatch.setattr(Connections, "_handle", noted)
    with pytest.raises(NotSaved):
        downloader.fetch(f"http://cdn.example.com:{port}/secret", Sink())
    assert connected == [f"192.0.2.7 cdn.example.com:{port} cdn.example.com"]
    assert handle is not noted
    assert inner.requests == []


def test_a_file_without_end_is_ended(server: FileServer, downloader: Downloader) -> None:
    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "image/png")
        handler.end_headers()
        for _ in range(10_000):
            handler.wfile.write(bytes(64 * 1024))

    sink = Sink()
    with pytest.raises(NotSaved, match="larger than 5 MB"):
        downloader.fetch(server.serve("/fox.png", endless), sink, largest_bytes=5_000_000)
    assert sink.total <= 5_000_000


def test_a_length_past_the_bound_is_refused_before_a_byte_comes(server: FileServer, downloader: Downloader) -> None:
    def huge(handler: Handler) -> None:
        handler.send(200, {"Content-Length": "999999999999"}, b"x")

    sink = Sink()
    with pytest.raises(NotSaved, match="larger than"):
        downloader.fetch(server.serve("/fox.png", huge), sink)
    assert sink.total == 0


@pytest.mark.parametrize("length", ["99999999999999999999999", "-1", "x", "٣"])
def test_odd_lengths_harm_nothing(server: FileServer, downloader: Downloader, length: str) -> None:
    def odd(handler: Handler) -> None:
        handler.wfile.write(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nfox".encode())
        handler.close_connection = True

    with pytest.raises(NotSaved):
        downloader.fetch(server.serve("/fox.png", odd), Sink())


def test_a_bomb_is_unpacked_in_pieces_and_ended(server: FileServer, downloader: Downloader) -> None:
    bomb = gzip.compress(bytes(60_000_000))
    sink = Sink()
    reply = lambda handler: handler.send(200, {"Content-Encoding": "gzip"}, bomb)  # noqa: E731
    with pytest.raises(NotSaved, match="larger than 20 MB"):
        downloader.fetch(server.serve("/fox.png", reply), sink, largest_bytes=20_000_000)
    assert sink.largest <= CHUNK_BYTES
    downloader.fetch(server.serve("/fox.png", reply), sink)
    assert sink.total >= 60_000_000


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip, gzip", "x" * 5000])
def test_other_encodings_are_refused(server: FileServer, downloader: Downloader, encoding: str) -> None:
    reply = lambda handler: handler.send(200, {"Content-Encoding": encoding}, b"fox")  # noqa: E731
    with pytest.raises(NotSaved) as refused:
        downloader.fetch(server.serve("/fox.png", reply), Sink())
    assert len(str(refused.value)) < 300


def test_the_body_of_a_redirect_is_not_read(server: FileServer, downloader: Downloader) -> None:
    sent = 0

    def heavy(handler: Handler) -> None:
        nonlocal sent
        handler.send_response(302)
        handler.send_header("Location", "/there.png")
        handler.end_headers()
        try:
            for _ in range(2_000):
                handler.wfile.write(bytes(64 * 1024))
                sent += 64 * 1024
        except OSError:
            pass

    server.serve("/there.png", content(b"fox"))
    sink = Sink()
    downloader.fetch(server.serve("/here.png", heavy), sink)
    assert sink.total == 3
    assert sent < 50_000_000


def test_cookies_of_others_are_not_kept(server: FileServer, downloader: Downloader) -> None:
    reply = lambda handler: handler.send(200, {"Set-Cookie": "a=b"}, b"fox")  # noqa: E731
    for _ in range(2):
        downloader.fetch(server.serve("/fox.png", reply), Sink())
    assert all("cookie" not in headers for _, headers in server.requests)


def test_slow_downloads_leave_room_for_others(
    server: FileServer, downloader: Downloader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "LOOK_SECONDS", 0.1)
    over = threading.Event()

    def trickle(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        try:
            while not over.wait(0.05):
                handler.wfile.write(b"x")
                handler.wfile.flush()
        except OSError:
            pass
        handler.close_connection = True

    slow = server.serve("/slow.png", trickle)

    def fetch_slow() -> None:
        with pytest.raises(NotSaved):
            downloader.fetch(slow, Sink())

    threads = [threading.Thread(target=fetch_slow) for _ in range(download.CONNECTIONS + 5)]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    downloader.fetch(server.serve("/fox.png", content(b"fox" * 1000)), Sink())
    assert time.monotonic() - began < 20
    over.set()
    downloader.close()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


def test_what_hardly_moves_is_ended(
    server: FileServer, downloader: Downloader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "PATIENCE_SECONDS", 0.5)

    def trickle(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(600):
                handler.wfile.write(b"x")
                handler.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass

    with pytest.raises(NotSaved, match="too slow"):
        downloader.fetch(server.serve("/slow.png", trickle), Sink())


def test_headers_that_trickle_are_ended(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(download, "TRIES", 1)
    downloader = Downloader(server.url, None)

    def trickle(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        try:
            for number in range(600):
                handler.wfile.write(b"X-%d: x\r\n" % number)
                handler.wfile.flush()
                time.sleep(0.05)
        except OSError:
            handler.close_connection = True

    with pytest.raises(NotSaved, match="no answer within"):
        downloader.fetch(server.serve("/slow.png", trickle), Sink())
    downloader.close()
