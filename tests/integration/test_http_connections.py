"""The HTTP connections of a process, against a server that counts them."""

from __future__ import annotations

import gc
import socket
import threading
import weakref
from collections.abc import Iterator

import httpx
import pytest

from replibatch.errors import SettingsError
from replibatch.http_connections import Connections
from tests.support.file_server import FileServer, Handler, content
from tests.support.sandbox_caller import wait_for

FILE = b"a fox" * 100
IDLE_SECONDS = 30.0


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as server:
        yield server


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(transport=Connections(idle_seconds=IDLE_SECONDS)) as client:
        yield client


class Meeting:
    """A reply that is sent once as many are asked for as should be at the same time."""

    def __init__(self, size: int) -> None:
        self._together = threading.Barrier(size)
        self.ports: list[int] = []

    def __call__(self, handler: Handler) -> None:
        self.ports.append(handler.client_address[1])
        self._together.wait(10)
        content(FILE)(handler)

    def of(self, client: httpx.Client, url: str) -> list[int]:
        """The client's ports of so many requests at once."""
        self.ports.clear()
        threads = [threading.Thread(target=client.get, args=(url,)) for _ in range(self._together.parties)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sorted(self.ports)


def test_each_request_has_one_to_itself_and_they_are_used_again(server: FileServer, client: httpx.Client) -> None:
    meeting = Meeting(5)
    url = server.serve("/fox", meeting)
    first = meeting.of(client, url)
    assert len(set(first)) == 5
    assert meeting.of(client, url) == first


def test_one_after_the_other_take_the_one_that_was_used_last(server: FileServer, client: httpx.Client) -> None:
    meeting, alone = Meeting(3), Meeting(1)
    meeting.of(client, server.serve("/together", meeting))
    url = server.serve("/alone", alone)
    ports = {alone.of(client, url)[0] for _ in range(5)}
    assert len(ports) == 1 and ports <= set(meeting.ports)


def test_one_that_the_server_has_closed_is_replaced(server: FileServer, client: httpx.Client) -> None:
    ports: list[int] = []

    def closing(handler: Handler) -> None:
        ports.append(handler.client_address[1])
        content(FILE)(handler)
        handler.close_connection = True

    url = server.serve("/fox", closing)
    assert [client.get(url).content for _ in range(3)] == [FILE] * 3
    assert len(set(ports)) == 3


def test_a_create_is_not_sent_again_where_the_server_has_closed_its_connection(server: FileServer) -> None:
    with httpx.Client(transport=Connections(idle_seconds=IDLE_SECONDS)) as client:
        url = server.serve("/fox", content(FILE), lambda handler: setattr(handler, "close_connection", True))
        client.get(url)
        before = len(server.requests)
        with pytest.raises(httpx.RemoteProtocolError):
            client.post(url, content=b"paid")
        assert len(server.requests) == before + 1


def test_one_that_was_idle_for_too_long_is_not_used_again(server: FileServer) -> None:
    alone = Meeting(1)
    url = server.serve("/fox", alone)
    with httpx.Client(transport=Connections(idle_seconds=0)) as client:
        assert alone.of(client, url) != alone.of(client, url)


def test_a_failed_one_keeps_nobody_waiting(server: FileServer, client: httpx.Client) -> None:
    def broken(handler: Handler) -> None:
        handler.close_connection = True

    url = server.serve("/fox", broken, content(FILE))
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(url)
    assert client.get(url).content == FILE


def test_closing_them_ends_what_is_being_read_and_what_comes_after(server: FileServer) -> None:
    reading, closed = threading.Event(), threading.Event()

    def endless(handler: Handler) -> None:
        handler.send(200, {"Content-Length": "1000000"}, b"begun")
        closed.wait(10)

    connections = Connections(idle_seconds=IDLE_SECONDS)
    client = httpx.Client(transport=connections)
    failures: list[BaseException] = []

    def read() -> None:
        try:
            with client.stream("GET", server.serve("/endless", endless)) as response:
                for _ in response.iter_raw(5):
                    reading.set()
        except httpx.HTTPError as failure:
            failures.append(failure)

    thread = threading.Thread(target=read)
    thread.start()
    assert reading.wait(10)
    connections.close()
    closed.set()
    thread.join(10)
    assert not thread.is_alive() and len(failures) == 1
    with pytest.raises(httpx.ConnectError, match="closed"):
        client.get(server.serve("/fox", content(FILE)))


def test_one_whose_answer_broke_off_is_not_kept(server: FileServer) -> None:
    def half(handler: Handler) -> None:
        handler.send(500, {"Content-Length": "1000000"}, b"begun")

    connections = Connections(idle_seconds=IDLE_SECONDS)
    request = httpx.Request("GET", server.serve("/fox", half))
    response = connections.handle_request(request)
    with pytest.raises(httpx.RemoteProtocolError):  # nobody closes it after that
        response.read()
    gone = weakref.ref(response.stream)
    del response
    gc.collect()
    assert gone() is None, "nothing but its reader knows it"


def test_those_of_a_server_nobody_asks_any_more_are_closed(server: FileServer) -> None:
    connections = Connections(idle_seconds=0.05)
    with FileServer() as other, httpx.Client(transport=connections) as client:
        client.get(other.serve("/fox", content(FILE)))
        wait_for(lambda: client.get(server.serve("/fox", content(FILE))).content == FILE and other.open == 0)


class TestProxies:
    @pytest.fixture
    def proxy(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
        with FileServer() as proxy:
            monkeypatch.setenv("http_proxy", proxy.url.removeprefix("http://"))
            yield proxy

    def get(self, url: str) -> bytes:
        with httpx.Client(transport=Connections(idle_seconds=IDLE_SECONDS)) as client:
            return client.get(url).content

    @pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
    def test_one_is_asked_where_the_environment_names_it(
        self, proxy: FileServer, monkeypatch: pytest.MonkeyPatch, variable: str
    ) -> None:
        monkeypatch.delenv("http_proxy")
        monkeypatch.setenv(variable, proxy.url)
        proxy.serve("http://elsewhere.test/fox", content(FILE))
        assert self.get("http://elsewhere.test/fox") == FILE

    @pytest.mark.parametrize("direct", ["127.0.0.1", "a.test, 127.0.0.1:{port}", "a.test, *"])
    def test_not_for_what_is_asked_directly(
        self, proxy: FileServer, server: FileServer, monkeypatch: pytest.MonkeyPatch, direct: str
    ) -> None:
        monkeypatch.setenv("no_proxy", direct.format(port=server.url.rpartition(":")[2]))
        assert self.get(server.serve("/fox", content(FILE))) == FILE
        assert not proxy.requests

    def test_a_failed_handshake_with_one_keeps_nobody_waiting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            tunnels = []

            def open_and_close() -> None:
                for _ in range(2):
                    caller, _ = listening.accept()
                    tunnels.append(caller.recv(1000)[:7])
                    caller.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    caller.close()

            thread = threading.Thread(target=open_and_close)
            thread.start()
            monkeypatch.setenv("https_proxy", "http://{}:{}".format(*listening.getsockname()))
            with httpx.Client(transport=Connections(idle_seconds=IDLE_SECONDS), timeout=5) as client:
                for _ in range(2):
                    with pytest.raises((httpx.ConnectError, httpx.ReadError)):
                        client.get("https://elsewhere.test/fox")
            thread.join(10)
        assert tunnels == [b"CONNECT"] * 2

    def test_one_that_cannot_be_used_is_told_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("https_proxy", "socks4://me:secret@127.0.0.1:1080")
        with pytest.raises(SettingsError, match=r"HTTPS_PROXY: .*'socks4'.*allowed: http://") as told:
            Connections(idle_seconds=IDLE_SECONDS)
        assert "secret" not in str(told.value)
