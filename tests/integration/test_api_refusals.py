"""What the client makes of a refusal, and that no word of one holds the token."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr

from replibatch.errors import (
    ApiUnreachable,
    InvalidInput,
    MaybeCreated,
    ModelMissing,
    NoCredit,
    ReplibatchError,
    Throttled,
    TokenRefused,
)
from replibatch.sandbox import Sandbox
from tests.support.account import TOKEN, account, chain, create, inputs, write
from tests.support.catalogue import FLUX
from tests.support.odd_server import OddServer, answer


class TestRefused:
    def test_by_the_input(self, api, sandbox):
        with pytest.raises(InvalidInput, match="prompt is required"):
            create(api, FLUX, {}, 60)
        assert sandbox.books.posts_by_status == {"422": 1}

    def test_by_the_model(self, api):
        with pytest.raises(ModelMissing):
            create(api, "nobody/nothing", inputs("a fox"), 60)

    def test_by_the_credit(self, sandbox, api):
        sandbox.settings.credit_usd = 0.0
        with pytest.raises(NoCredit, match="insufficient credit"):
            create(api, FLUX, inputs("a fox"), 60)

    def test_by_the_token(self, sandbox):
        with account(sandbox.url, token="another") as api:
            for call in (lambda: create(api, FLUX, inputs("a fox"), 60), api.account, lambda: api.get("x")):
                with pytest.raises(TokenRefused, match="does not accept the token"):
                    call()
        assert not sandbox.books.create_times

    @pytest.mark.parametrize(
        ("style", "seconds"), [("header", 1), ("body", 1), ("available", 1), ("resets", 1), ("none", None)]
    )
    def test_for_now(self, sandbox, api, style, seconds):
        sandbox.settings.retry_after = style
        with pytest.raises(Throttled) as caught:
            create(api, FLUX, inputs("a fox [[429]]"), 60)
        assert caught.value.retry_after_seconds == seconds
        sandbox.settings.reads_per_minute = 0
        began = time.monotonic()
        with pytest.raises(Throttled) as caught:
            api.account()
        assert caught.value.retry_after_seconds == (None if style == "none" else 60)
        assert time.monotonic() - began < 1, "the wait is the caller's to decide"
        assert sum(sandbox.books.reads_by_kind.values()) == 1

    @pytest.mark.parametrize("status", [200, 201, 302])
    @pytest.mark.parametrize("body", ["<html>Sign in to the Wi-Fi</html>", "[]", "{}", "null"])
    def test_by_something_on_the_way(self, status, body):
        reply = answer(status, body, Location="http://127.0.0.1:9/elsewhere")
        with OddServer(reply) as server, account(server.url) as api:
            with pytest.raises(ApiUnreachable if status == 302 else MaybeCreated):
                create(api, FLUX, inputs("a fox"), 60)
            with pytest.raises(ApiUnreachable):
                api.get("a")
        assert len(server.requests) == 2


class TestToken:
    def failures(self, sandbox: Sandbox) -> Iterator[ReplibatchError]:
        """One of every kind a client with a good token can meet."""
        markers = ["500-before", "502-after", "drop-before", "drop-after", "429", "hang-reply"]
        with account(sandbox.url, settle_seconds=0.3) as api:
            calls: list[Callable[[], object]] = [
                lambda marker=marker: create(api, FLUX, inputs(f"[[{marker}]]"), 60)  # type: ignore[misc]
                for marker in markers
            ]
            calls += [lambda: create(api, FLUX, {}, 60), lambda: api.get("unknown")]
            for call in calls:
                with pytest.raises(ReplibatchError) as caught:
                    call()
                yield caught.value
        sandbox.settings.refused_tokens = frozenset({SecretStr(TOKEN)})
        with account(sandbox.url) as api, pytest.raises(TokenRefused) as refused:
            api.account()
        yield refused.value

    def test_it_is_in_no_exception_and_no_log(self, sandbox, caplog, capsys):
        caplog.set_level(logging.DEBUG)
        for failure in self.failures(sandbox):
            for error in chain(failure):
                assert TOKEN not in str(error) + repr(error) + repr(error.args) + repr(vars(error))
            assert TOKEN not in "".join(traceback.format_exception(failure))
        assert caplog.records, "the HTTP client logs"
        for record in caplog.records:
            assert TOKEN not in record.getMessage() + repr(record.args)
        assert TOKEN not in "".join(capsys.readouterr())

    def test_it_is_in_the_header_and_nowhere_else(self, tmp_path):
        reply = answer(
            201, '{"id": "a", "status": "starting", "username": "me", "urls": {"get": "u"}, "results": []}'
        )
        with OddServer(reply) as server, account(server.url) as api:
            create(api, FLUX, inputs("a fox"), 60)
            api.account()
            api.upload(write(tmp_path, "a.png"), "a.png")
            list(api.newest())
            assert TOKEN not in repr(api) + repr(vars(api))
        assert len(server.requests) == 4
        for request in server.requests:
            assert request.count(TOKEN.encode()) == 1
            assert f"Bearer {TOKEN}".encode() in request.partition(b"\r\n\r\n")[0]
