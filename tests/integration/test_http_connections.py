"""The HTTP connections of a process, against a server that counts them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import httpx
import pytest

from replibatch.http_connections import Connections
from tests.integration.file_server import FileServer, Handler, content
from tests.integration.sandbox_caller import wait_for

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


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
def test_a_proxy_is_asked_where_the_environment_names_one(
    server: FileServer, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with FileServer() as proxy:
        proxy.serve("http://elsewhere.test/fox", content(FILE))
        monkeypatch.setenv(variable, proxy.url.removeprefix("http://"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with httpx.Client(transport=Connections(idle_seconds=IDLE_SECONDS)) as client:
            assert client.get("http://elsewhere.test/fox").content == FILE
            assert client.get(server.serve("/near", content(b"near"))).content == b"near"
        wait_for(lambda: len(proxy.requests) == 1)
