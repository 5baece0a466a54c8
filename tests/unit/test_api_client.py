"""What the client uses of others' privates: a release that moves one of them fails here, by name."""

from __future__ import annotations

import inspect
from importlib.metadata import version

import httpx
import pytest
from pydantic import SecretStr
from replicate.client import Client as ReplicateClient

from replibatch.errors import NotCreated
from replibatch.replicate_api.client import Client, check_before_sending
from tests.support.odd_server import OddServer, answer

TIMEOUT = httpx.Timeout(5.0)


def test_the_replicate_package_has_what_is_used_of_it() -> None:
    assert version("replicate").startswith("1.0."), "2.0 sends a POST again"
    assert list(inspect.signature(ReplicateClient._request).parameters)[:3] == ["self", "method", "path"]
    assert isinstance(ReplicateClient(api_token="r8_x")._client, httpx.Client)


def test_httpcore_names_the_moment_before_a_request_is_written() -> None:
    events: list[tuple[str, int]] = []
    with OddServer(answer(201, "{}")) as server:
        client = Client(server.url, SecretStr("r8_x"), TIMEOUT)
        trace = {"trace": lambda event, _: events.append((event.rpartition("11.")[2], len(server.requests)))}
        client.request("POST", "/v1/x", json={}, extensions=trace)
        client.close()
    names = [name for name, _ in events]
    asked = names.index("send_request_headers.started")
    assert events[asked][1] == 0
    assert names.index("connection.connect_tcp.complete") < asked < names.index("send_request_body.started")


def test_a_create_that_must_not_be_sent_is_not() -> None:
    trace = check_before_sending(lambda: False)
    trace("connection.connect_tcp.complete", {})
    with pytest.raises(NotCreated, match="not sent"):
        trace("http11.send_request_headers.started", {})
