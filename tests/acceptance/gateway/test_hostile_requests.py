"""Requests that are not meant well: refused in the API's words, nothing hangs, and the next one is answered."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator

import httpx
import pytest

from replibatch.errors import SettingsError
from replibatch.gateway import bodies, impatience
from replibatch.gateway.server import make_server
from replibatch.gateway.tenants import MOST_WAITING
from tests.acceptance.gateway.conftest import House
from tests.support.catalogue import KONTEXT, QWEN
from tests.support.gateways import RunningGateway, running

PATH = f"/v1/models/{QWEN}/predictions"


@pytest.fixture
def ours(house: House) -> Iterator[httpx.Client]:
    with house.gateway.client(house.key) as client:
        yield client
        assert client.get("/v1/account").status_code == 200, "the next request is answered"


@pytest.fixture
def keyless(redis_url: str) -> Iterator[RunningGateway]:
    """A gateway without keys, of an account without workers."""
    with running(redis_url=redis_url, account="keyless") as gateway:
        yield gateway


def raw(gateway: RunningGateway, sent: bytes) -> bytes:
    """What comes back for bytes on a connection."""
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(sent)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
            if b"\r\n\r\n" in answer:
                break
    return answer


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"not json", 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        (b'{"input":' * 50_000, 400),
        (b"[]", 422),
        (b"null", 422),
        (b'{"input": []}', 422),
        (b'{"input": {"prompt": 7}}', 422),
        (b'{"input": {"prompt": "a", "num": 1e999}}', 422),
        (b'{"input": {"prompt": "a"}, "token": "x"}', 422),
        (b'{"input": {"prompt": "env:HOME"}}', 422),
        (b'{"input": {"prompt": "a", "image": "/etc/passwd"}}', 422),
        (b'{"input": {"prompt": "a", "image": "file:///etc/passwd"}}', 422),
        (b'{"input": {"prompt": "a"}, "webhook": "file:///etc/passwd"}', 422),
        (b'{"input": {"prompt": "a"}, "webhook_events_filter": ["all"]}', 422),
        (b'{"input": {"prompt": "\\ud800"}}', 422),
        (b'{"prompt": "a"}', 422),
        (b'{"input": {"prompt": "a"}, "webhook": "http://["}', 422),
        (b'{"input": {"prompt": "a"}, "webhook": "http://a b/"}', 422),
        (b'{"input": {"prompt": "a"}, "webhook": ["http://a.example/"]}', 422),
        (b'{"input": {"prompt": "a", "image": "http://["}}', 422),
        (json.dumps({"input": {"prompt": "a"}, "webhook": "http://a.example/" + "a" * 3000}).encode(), 422),
        (b'{"input": {"prompt": "a"}, "version": "x"}', 422),
        (b'{"input": {"prompt": "a", "seed": ' + b"9" * 5000 + b"}}", 400),
        (json.dumps({"input": {"prompt": "a", "deep": {"a": [[[[[[[[[[1]]]]]]]]]]}}}).encode(), 422),
        (json.dumps({"input": {"prompt": "a" * 1_500_000}}).encode(), 422),
        (b" " * 3_000_000, 413),
    ],
)
def test_bodies(ours: httpx.Client, content: bytes, status: int) -> None:
    answer = ours.post(PATH, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.json()["status"] == status and answer.json()["detail"]


def test_a_file_of_the_storage_is_no_input(ours: httpx.Client) -> None:
    for text in (f"file:{'0' * 64}.png", "file:secret", "../../etc/passwd", "C:\\x.png", "OUTPUT"):
        answer = ours.post(f"/v1/models/{KONTEXT}/predictions", json={"input": {"prompt": "a", "input_image": text}})
        assert answer.status_code == 422, answer.text


def test_a_body_without_a_length_ends_where_the_bound_is(ours: httpx.Client) -> None:
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(4000):
            sent += 65536
            yield b" " * 65536

    with contextlib.suppress(httpx.WriteError):  # it may be cut off while it still sends
        assert ours.post(PATH, content=pieces()).status_code == 413
    assert sent < 100_000_000


def test_a_body_that_does_not_come_is_given_up(
    house: House, ours: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "JSON_SECONDS", 0.3)
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {house.key}\r\nContent-Length: 100\r\n\r\n{{"
    assert b" 408 " in raw(house.gateway, head.encode()).split(b"\r\n")[0]


@pytest.mark.parametrize("sent", [b"", b"GET / HT"])
def test_a_head_that_does_not_come_is_given_up(
    house: House, ours: httpx.Client, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(impatience, "HEAD_SECONDS", 0.3)
    host, _, port = house.gateway.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(sent)
        while connection.recv(65536):
            pass


@pytest.mark.parametrize(
    "headers",
    [
        "Host: a b\r\n",
        "Host: evil.example/path\r\n",
        "Host: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        "Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Host: x\r\nX: " + "a" * 100_000 + "\r\n",
        "Host: x\r\nA\0B: 1\r\n",
    ],
)
def test_odd_headers(house: House, ours: httpx.Client, headers: str) -> None:
    sent = f"POST {PATH} HTTP/1.1\r\nAuthorization: Bearer {house.key}\r\n{headers}\r\n"
    status = raw(house.gateway, sent.encode()).split(b"\r\n")[0]
    assert status == b"" or b" 4" in status, status


@pytest.mark.parametrize("prefer", ["wait=0", "wait=61", "wait=-1", "wait=x", "wait=9999999999"])
def test_prefer(ours: httpx.Client, prefer: str) -> None:
    answer = ours.post(PATH, json={"input": {"prompt": "a"}}, headers={"Prefer": prefer})
    assert answer.status_code == 422 and "Prefer" in answer.text


def test_an_odd_idempotency_key(ours: httpx.Client) -> None:
    answer = ours.post(PATH, json={"input": {"prompt": "a"}}, headers={"Idempotency-Key": "k" * 201})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "/v1/predictions/../../etc", "/v1/predictions/a:b", "/v1/predictions/%00", "/v1/predictions/" + "a" * 5000,
        "/v1/files/..%2f..", "/outputs/", "/outputs/a/b/0/c", "/outputs/a/b/" + "9" * 5000 + "/c",
        "/stream/a/b", "/v1", "/", "/docs", "/openapi.json",
        "/v1/models/a/b", "/v1/models/a/b/versions/c", "/v1/deployments/a/b",
    ],
)  # fmt: skip
def test_paths_that_lead_nowhere(ours: httpx.Client, path: str) -> None:
    answer = ours.get(path)
    assert answer.status_code == 404 and answer.json()["status"] == 404


@pytest.mark.parametrize(
    "query", ["cursor=bmFuIHg=", "cursor=aW5mIHg=", "cursor=%ff", "cursor=x", "created_after=x", "created_before=9"]
)
def test_odd_queries(ours: httpx.Client, query: str) -> None:
    assert ours.get(f"/v1/predictions?{query}").status_code == 400


def test_a_file_that_is_none(house: House, ours: httpx.Client) -> None:
    assert ours.post("/v1/files", data={"content": "text"}).status_code == 422
    assert ours.post("/v1/files", content=b"x", headers={"Content-Type": "multipart/form-data"}).status_code == 400
    many = {f"f{number}": ("a", b"x") for number in range(5)}
    assert ours.post("/v1/files", files=many).status_code == 400
    answer = ours.post("/v1/files", files={"content": ("a", b"x")}, data={"metadata": "[1]"})
    assert answer.status_code == 422
    key = ours.headers["Authorization"]
    head = f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\nContent-Length: 999999999999\r\n\r\n"
    assert b" 413 " in raw(house.gateway, head.encode()).split(b"\r\n")[0]


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:6379/", "http://localhost/", "http://2130706433/", "http://0x7f.1/", "http://[::1]/",
        "http://[::ffff:10.0.0.1]/", "http://169.254.169.254/latest/meta-data", "http://10.1.2.3/", "http://redis/",
        "https://metadata.internal/", "http://127.0.0.1.:80/",
    ],
)  # fmt: skip
def test_a_webhook_to_a_private_address(keyless: RunningGateway, address: str) -> None:
    with keyless.client() as client:
        answer = client.post(PATH, json={"input": {"prompt": "a"}, "webhook": address})
        assert answer.status_code == 422 and "webhook" in answer.json()["detail"]
        assert not client.get("/v1/predictions").json()["results"]


def test_without_keys_it_answers_programs_of_this_machine_alone(keyless: RunningGateway) -> None:
    with keyless.client() as client:
        assert client.get("/v1/account").json()["username"] == "local"
        assert client.get("/v1/account", headers={"Origin": "https://evil.example"}).status_code == 403
        assert client.get("/v1/account", headers={"Host": "evil.example"}).status_code == 403
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
        keyless.tenants.add("first")
        assert client.get("/v1/account").status_code == 401, "from the first key on, keys are asked for"


def test_no_other_machine_reaches_it_without_keys(keyless: RunningGateway) -> None:
    with pytest.raises(SettingsError, match="there is no key"):
        make_server(keyless.producer, "0.0.0.0", 0)
    with pytest.raises(SettingsError, match="expected: up to 64 letters"):
        keyless.tenants.add("a b")
    keyless.tenants.add("a")
    with pytest.raises(SettingsError, match="there is a key 'a' already"):
        keyless.tenants.add("a")
    assert [each.max_waiting for each in keyless.tenants.all().values()] == [MOST_WAITING]
    assert not keyless.tenants.remove("b")
