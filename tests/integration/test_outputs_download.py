"""Downloads over real HTTP: whole or not at all, gone on with where they broke, the token only where it belongs."""

import hashlib
import io
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from replibatch.errors import AttemptFailure, NoOutput, NotSaved, OutputErased
from replibatch.outputs.download import CONNECTIONS, SUSPECT_TRIES, TRIES, Downloader
from tests.support.file_server import FileServer, Handler, content, parts_of, redirect, status

FILE = random.Random(1).randbytes(800_017)
TOKEN = "r8_secret"


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[FileServer, FileServer]]:
    with FileServer() as one, FileServer() as other:
        yield one, other


@pytest.fixture
def server(servers: tuple[FileServer, FileServer]) -> FileServer:
    servers[0].forget()
    return servers[0]


@pytest.fixture
def other_server(servers: tuple[FileServer, FileServer]) -> FileServer:
    servers[1].forget()
    return servers[1]


@pytest.fixture(scope="module")
def downloader(servers: tuple[FileServer, FileServer]) -> Iterator[Downloader]:
    """One whose API is the first server."""
    downloader = Downloader(servers[0].url, SecretStr(TOKEN), pause_seconds=0.001, own=[servers[1].url])
    yield downloader
    downloader.close()


def fetched(downloader: Downloader, url: str, **options: bool) -> tuple[bytes, str]:
    file = io.BytesIO()
    result = downloader.fetch(url, file, **options)
    return file.getvalue(), result


def test_a_file_arrives_whole(server: FileServer, downloader: Downloader) -> None:
    url = server.serve("/fox.png", content(FILE))
    assert fetched(downloader, url) == (FILE, hashlib.sha256(FILE).hexdigest())
    assert len(server.requests) == 1


def test_a_file_without_a_length_arrives_whole(server: FileServer, downloader: Downloader) -> None:
    def chunked(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for start in range(0, len(FILE), 100_000):
            piece = FILE[start : start + 100_000]
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        handler.wfile.write(b"0\r\n\r\n")

    assert fetched(downloader, server.serve("/fox.png", chunked))[0] == FILE


def test_a_chunked_file_that_breaks_off_is_fetched_again(server: FileServer, downloader: Downloader) -> None:
    def broken(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"3\r\nfox\r\n")
        handler.close_connection = True

    assert fetched(downloader, server.serve("/fox.png", broken, content(FILE)))[0] == FILE


def test_large_files_are_never_whole_in_memory(server: FileServer, downloader: Downloader) -> None:
    class Disk(io.BytesIO):
        largest = 0

        def write(self, data) -> int:
            self.largest = max(self.largest, len(data))
            return super().write(data)

    disk = Disk()
    downloader.fetch(server.serve("/clip.mp4", content(FILE * 4, "video/mp4")), disk)
    assert disk.getvalue() == FILE * 4
    assert disk.largest < len(FILE)


def test_a_broken_download_goes_on_where_it_stopped(server: FileServer, downloader: Downloader) -> None:
    url = server.serve("/fox.png", parts_of(FILE, most=300_000), parts_of(FILE, most=100_000), parts_of(FILE))
    body, sha256 = fetched(downloader, url)
    assert body == FILE
    assert sha256 == hashlib.sha256(FILE).hexdigest()
    first, second, third = server.asked("/fox.png")
    assert "range" not in first
    assert second["range"] == "bytes=300000-"
    assert second["if-range"] == '"1"'
    assert third["range"] == "bytes=400000-"


@pytest.mark.parametrize("etag", ['W/"1"', '"1"'])
@pytest.mark.parametrize("ranges", [True, False])
def test_it_starts_over_where_the_server_does_not_promise_the_same_bytes(
    server: FileServer, downloader: Downloader, etag: str, ranges: bool
) -> None:
    url = server.serve("/fox.png", parts_of(FILE, most=300_000, etag=etag, ranges=ranges), parts_of(FILE, etag=etag))
    assert fetched(downloader, url)[0] == FILE
    assert ("range" in server.asked("/fox.png")[1]) == (ranges and etag == '"1"')


def test_it_starts_over_with_a_file_that_changed(server: FileServer, downloader: Downloader) -> None:
    changed = FILE[::-1][:100_000]  # shorter than what is there already
    url = server.serve("/fox.png", parts_of(FILE, most=300_000), parts_of(changed, etag='"2"'))
    assert fetched(downloader, url)[0] == changed


@pytest.mark.parametrize(
    "wrong", [parts_of(FILE, shift=5), parts_of(FILE + b"more"), status(416)], ids=["elsewhere", "longer", "416"]
)
def test_it_starts_over_after_a_wrong_part(server: FileServer, downloader: Downloader, wrong) -> None:
    url = server.serve("/fox.png", parts_of(FILE, most=300_000), wrong, content(FILE))
    assert fetched(downloader, url)[0] == FILE
    assert "range" not in server.asked("/fox.png")[2]


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(server: FileServer, downloader: Downloader, code: int) -> None:
    assert fetched(downloader, server.serve("/fox.png", status(code), status(code), content(FILE)))[0] == FILE


def test_a_connection_that_is_refused_is_tried_again_and_given_up() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/fox.png"
        downloader = Downloader(url, None, pause_seconds=0.001)
        with pytest.raises(NotSaved, match=r"could not be downloaded: .*refused"):
            fetched(downloader, url)
        downloader.close()


def test_it_gives_up_after_a_few_tries(server: FileServer, downloader: Downloader) -> None:
    url = server.serve("/fox.png?signature=secret", status(503))
    with pytest.raises(NotSaved, match=r"/fox\.png answered HTTP 503$") as failure:
        fetched(downloader, url)
    assert "secret" not in str(failure.value)
    assert len(server.requests) == TRIES


def test_a_download_that_always_breaks_is_given_up(server: FileServer, downloader: Downloader) -> None:
    with pytest.raises(NotSaved, match="could not be downloaded"):
        fetched(downloader, server.serve("/fox.png", parts_of(FILE, most=10, ranges=False)))
    assert len(server.requests) == TRIES


@pytest.mark.parametrize("code", [400, 401, 403, 451])
def test_a_refusal_is_not_tried_again(server: FileServer, downloader: Downloader, code: int) -> None:
    with pytest.raises(NotSaved, match=f"HTTP {code}"):
        fetched(downloader, server.serve("/fox.png", status(code)))
    assert len(server.requests) == 1


def test_a_retry_waits_as_long_as_the_server_asks(server: FileServer, downloader: Downloader) -> None:
    url = server.serve("/fox.png", status(503, Retry_After="1"), content(FILE))
    began = time.monotonic()
    fetched(downloader, url)
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize(("code", "tries"), [(404, SUSPECT_TRIES), (410, 1)])
@pytest.mark.parametrize(("erased", "failure"), [(True, OutputErased), (False, NotSaved)])
def test_a_missing_file_is_erased_if_the_caller_says_so(
    server: FileServer, downloader: Downloader, code: int, tries: int, erased: bool, failure: type[AttemptFailure]
) -> None:
    with pytest.raises(AttemptFailure, match=f"HTTP {code}") as raised:
        fetched(downloader, server.serve("/fox.png", status(code)), missing_is_erased=erased)
    assert type(raised.value) is failure
    assert len(server.requests) == tries


def test_a_file_that_is_there_a_moment_later_is_not_erased(server: FileServer, downloader: Downloader) -> None:
    url = server.serve("/fox.png", status(404), content(FILE))
    assert fetched(downloader, url, missing_is_erased=True)[0] == FILE


def test_an_empty_file_is_no_output(server: FileServer, downloader: Downloader) -> None:
    with pytest.raises(NoOutput, match="is empty"):
        fetched(downloader, server.serve("/fox.png", content(b"")))
    assert fetched(downloader, server.serve("/wolf.png", content(b""), content(FILE)))[0] == FILE


@pytest.mark.parametrize("url", ["http://[half/x", "ftp://127.0.0.1/fox.png", "http://\N{SNOWMAN}..invalid/x"])
def test_an_impossible_address_fails_at_once(downloader: Downloader, url: str) -> None:
    with pytest.raises(NotSaved):
        fetched(downloader, url)


def test_redirects_are_followed_but_not_for_ever(server: FileServer, downloader: Downloader) -> None:
    target = server.serve("/there.png", content(FILE))
    assert fetched(downloader, server.serve("/here.png", redirect(target)))[0] == FILE
    with pytest.raises(NotSaved, match="redirects"):
        fetched(downloader, server.serve("/loop.png", redirect(server.url + "/loop.png")))


def test_the_token_goes_to_the_files_that_the_api_issued(server: FileServer, downloader: Downloader) -> None:
    fetched(downloader, server.serve("/v1/files/fox", content(FILE)), is_issued=True)
    fetched(downloader, server.serve("/v1/files/fox/download?owner=me", content(FILE)), is_issued=True)
    assert [headers["authorization"] for _, headers in server.requests] == [f"Bearer {TOKEN}"] * 2


def test_the_token_goes_nowhere_else(server: FileServer, other_server: FileServer, downloader: Downloader) -> None:
    fetched(downloader, server.serve("/v1/files/fox", content(FILE)))  # a text that a model wrote
    paths = (
        "/output/fox.png",
        "/v1",
        "/v10/files/fox",
        "/v1/predictions",
        "/v1/predictions/x",
        "/v1/account",
        "/v1/files",
    )
    for address in [
        *(server.serve(path, content(FILE)) for path in paths),
        server.serve("/v1/files/../predictions", content(FILE)).replace("..", "%2e%2e"),
        server.serve("/v1//files/fox", content(FILE)),
        other_server.serve("/v1/files/fox", content(FILE)),  # the same host, another port
        server.serve("/v1/files/fox", content(FILE)).replace("127.0.0.1", "localhost"),
        server.url + "/v1/../output/fox.png",
    ]:
        try:
            fetched(downloader, address, is_issued=True)
        except (NotSaved, OutputErased):
            assert "/v1/" in address
    assert len(server.requests) + len(other_server.requests) >= 6
    for _, headers in server.requests + other_server.requests:
        assert "authorization" not in headers


def test_the_token_does_not_follow_a_redirect(
    server: FileServer, other_server: FileServer, downloader: Downloader
) -> None:
    elsewhere = other_server.serve("/fox.png", content(FILE))
    assert fetched(downloader, server.serve("/v1/files/a", redirect(elsewhere)), is_issued=True)[0] == FILE
    same_host = server.serve("/output/fox.png", content(FILE))
    assert fetched(downloader, server.serve("/v1/files/b", redirect(same_host)), is_issued=True)[0] == FILE
    to_the_api = server.serve("/v1/files/c", content(FILE))
    assert fetched(downloader, other_server.serve("/trap", redirect(to_the_api)), is_issued=True)[0] == FILE
    with_token = {path for path, headers in server.requests if "authorization" in headers}
    assert with_token == {"/v1/files/a", "/v1/files/b"}
    assert not any("authorization" in headers for _, headers in other_server.requests)


def test_without_a_token_nothing_is_sent(server: FileServer) -> None:
    downloader = Downloader(server.url, None)
    fetched(downloader, server.serve("/v1/files/fox", content(FILE)))
    downloader.close()
    assert "authorization" not in server.requests[0][1]


def test_many_at_once_share_a_bounded_number_of_connections(server: FileServer, downloader: Downloader) -> None:
    lock, busy, peak = threading.Lock(), 0, 0
    full, overfull = threading.Event(), threading.Event()

    def slow(handler: Handler) -> None:
        nonlocal busy, peak
        with lock:
            busy += 1
            peak = max(peak, busy)
            if busy == CONNECTIONS:
                full.set()
            if busy > CONNECTIONS:
                overfull.set()
        full.wait(10)
        overfull.wait(0.3)  # one too many would have come by then
        with lock:
            busy -= 1
        content(FILE)(handler)

    url = server.serve("/fox.png", slow)
    bodies: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: bodies.append(fetched(downloader, url)[0])) for _ in range(2 * CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bodies == [FILE] * (2 * CONNECTIONS)
    assert peak == CONNECTIONS


def test_closing_ends_what_waits_for_another_try(server: FileServer) -> None:
    downloader = Downloader(server.url, None, pause_seconds=60)
    url = server.serve("/fox.png", status(503))
    failures: list[BaseException] = []

    def run() -> None:
        try:
            fetched(downloader, url)
        except NotSaved as failure:
            failures.append(failure)

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.requests:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    downloader.close()
    thread.join(10)
    assert len(failures) == 1
    with pytest.raises(NotSaved):
        fetched(downloader, url)


def test_a_full_disk_is_not_taken_for_a_network_fault(server: FileServer, downloader: Downloader) -> None:
    url = server.serve("/fox.png", content(FILE))
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")

    class FullDisk(io.BytesIO):
        def write(self, data) -> int:
            with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123
                return full.write(data)

    with pytest.raises(OSError, match="No space left"):
        downloader.fetch(url, FullDisk())
    assert len(server.requests) == 1
