"""Creates against the stand-in: what is sent, how often, and what no answer comes to. The books decide."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from replibatch.errors import (
    ApiUnreachable,
    AttemptFailure,
    MaybeCreated,
    NotCreated,
    ReplibatchError,
    Throttled,
)
from replibatch.sandbox import Sandbox
from tests.support.account import account, create, ended, inputs
from tests.support.catalogue import FLUX
from tests.support.odd_server import OddServer, answer
from tests.support.sandbox_caller import Caller, wait_for


class TestCreate:
    def test_the_prediction_is_known_before_it_runs(self, sandbox, api):
        sandbox.settings.latency_seconds = 30
        began = time.monotonic()
        prediction = create(api, FLUX, inputs("a fox", seed=1), 60)
        assert time.monotonic() - began < 10
        assert prediction.status == "starting"
        assert prediction.model == FLUX
        assert prediction.input == inputs("a fox", seed=1)
        assert sandbox.books.in_flight == 1
        assert api.cancel(prediction.id).status == "canceled"
        assert sandbox.books.cancels == 1

    def test_cancel_after_is_sent_in_whole_seconds_and_never_less_than_allowed(self, sandbox, api):
        with Caller(sandbox) as caller:
            for asked, sent in ((7.4, 7), (1800.0, 1800), (0.3, 5)):
                prediction = create(api, FLUX, inputs("a fox"), asked)
                seen = caller.get({"id": prediction.id})
                assert prediction.created_at is not None
                deadline = prediction.from_json({**seen, "created_at": seen["deadline"]}).created_at
                assert deadline is not None
                assert deadline - prediction.created_at == timedelta(seconds=sent)

    def test_replicate_ends_what_takes_too_long(self, sandbox, api):
        sandbox.settings.minimum_cancel_after_seconds = 0
        sandbox.settings.latency_seconds = 60
        prediction = create(api, FLUX, inputs("a fox"), 5)
        with Caller(sandbox) as caller:
            response = caller.post("a fox", headers={"Cancel-After": "0s"})
        assert ended(api, response.json()["id"]) == "aborted"
        assert not api.get(prediction.id).is_over

    def test_a_model_of_a_version_is_named_by_it(self):
        reply = answer(201, '{"id": "a", "status": "starting"}')
        with OddServer(reply) as server, account(server.url) as api:
            create(api, "me/mine:abc123", inputs("a fox"), 60)
            create(api, "me/mine", inputs("a fox"), 60)
        by_version, by_name = server.requests
        assert by_version.startswith(b"POST /v1/predictions HTTP")
        assert b'"version":"me/mine:abc123"' in by_version
        assert by_name.startswith(b"POST /v1/models/me/mine/predictions HTTP")
        assert b"version" not in by_name.partition(b"\r\n\r\n")[2]


LOST = ["500-before", "502-before", "503-before", "500-after", "502-after", "504-after", "drop-before", "drop-after"]


class TestSentOnce:
    @pytest.mark.parametrize(
        ("marker", "kind"),
        [*((marker, MaybeCreated) for marker in LOST), ("429", Throttled)],
    )
    def test_whatever_the_answer_is(self, sandbox, api, marker, kind):
        with pytest.raises(ReplibatchError) as caught:
            create(api, FLUX, inputs(f"a fox [[{marker}]]"), 60)
        assert type(caught.value) is kind
        books = sandbox.books
        assert len(books.post_times) == 1
        assert len(books.create_times) == marker.endswith("-after")

    def test_though_the_reply_never_comes(self, sandbox):
        with account(sandbox.url, settle_seconds=0.5) as api:
            began = time.monotonic()
            with pytest.raises(MaybeCreated):
                create(api, FLUX, inputs("a fox [[hang-reply]]"), 60)
            assert time.monotonic() - began < 5, "a create gives up before the settle time is over"
            wait_for(lambda: sandbox.books.posts_by_status["no reply"] == 1)
        assert len(sandbox.books.post_times) == len(sandbox.books.create_times) == 1

    def test_by_hundreds_of_threads_and_under_every_fault(self, sandbox, api):
        sandbox.settings.fault_rates = dict.fromkeys(("500-before", "502-after", "drop-before", "drop-after"), 0.1)

        def create_one(number: int) -> str:
            try:
                return create(api, FLUX, inputs(f"p{number}"), 60).id
            except MaybeCreated:
                return "?"

        with ThreadPoolExecutor(100) as pool:
            answers = list(pool.map(create_one, range(300)))
        books = sandbox.books
        assert len(books.post_times) == 300
        assert answers.count("?") == 300 - books.posts_by_status["201"] - books.posts_by_status["202"]
        assert all(len(bill.prediction_ids) == 1 for bill in books.bills())

    def test_though_the_server_closes_the_connection_it_was_to_go_through(self, api, sandbox):
        """A connection the server closes while idle is not mistaken for a lost reply, nor the POST repeated."""
        create(api, FLUX, inputs("p0"), 60)
        url = sandbox.url
        sandbox.stop()
        with pytest.raises(ApiUnreachable, match="connection refused"):
            create(api, FLUX, inputs("p1"), 60)
        with Sandbox(port=int(url.rpartition(":")[2])) as again:
            create(api, FLUX, inputs("p2"), 60)
            assert len(again.books.post_times) == 1


class TestMaySend:
    def test_nothing_is_sent_once_it_may_not(self, sandbox):
        with account(sandbox.url) as api, pytest.raises(NotCreated, match="not sent"):
            create(api, FLUX, inputs("a fox"), may_send=lambda: False)
        assert not sandbox.books.post_times

    def test_it_is_asked_right_before_the_request_is_written(self):
        """After the wait for a connection: a process may have been stopped just then."""
        seen: list[int] = []
        reply = answer(201, '{"id": "a", "status": "starting"}')
        with OddServer(reply) as server:

            def may_send() -> bool:
                wait_for(lambda: server.connections == 1)
                seen.append(len(server.requests))
                return True

            with account(server.url) as api:
                create(api, FLUX, inputs("a fox"), may_send=may_send)
        assert seen == [0], "connected, and nothing written"

    def test_the_next_create_is_sent_again(self, sandbox):
        with account(sandbox.url) as api:
            with pytest.raises(NotCreated):
                create(api, FLUX, inputs("p"), may_send=lambda: False)
            create(api, FLUX, inputs("p"))
        assert len(sandbox.books.post_times) == 1


class TestTimeOuts:
    def test_no_server_at_all(self):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        with account(url) as api:
            with pytest.raises(ApiUnreachable, match="connection refused"):
                create(api, FLUX, inputs("a fox"), 60)
            with pytest.raises(AttemptFailure):
                api.get("a")

    def test_a_server_that_does_not_let_anybody_in(self):
        """Its backlog is full: the connection is never made, so surely nothing was created."""
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            waiting = [socket.socket() for _ in range(4)]
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            url = "http://{}:{}".format(*full.getsockname())
            with account(url, settle_seconds=0.5) as api:
                began = time.monotonic()
                with pytest.raises(ApiUnreachable, match="no connection to"):
                    create(api, FLUX, inputs("a fox"), 60)
                assert time.monotonic() - began < 5
            for one in waiting:
                one.close()

    def test_creates_that_hang_do_not_starve_reads_for_ever(self, sandbox):
        with account(sandbox.url, settle_seconds=1.0) as api, ThreadPoolExecutor(30) as pool:
            hanging = [pool.submit(create, api, FLUX, inputs(f"[[hang-reply]] {n}"), 60) for n in range(30)]
            wait_for(lambda: len(sandbox.books.post_times) > 0)
            assert api.account() == "sandbox"
            assert {type(one.exception(10)) for one in hanging} == {MaybeCreated}


def test_threads_that_share_it_are_served(sandbox: Sandbox) -> None:
    with account(sandbox.url) as api:
        together = threading.Barrier(40)

        def call(number: int) -> str:
            together.wait()
            return create(api, FLUX, inputs(f"p{number}"), 60).id

        with ThreadPoolExecutor(40) as pool:
            assert len(set(pool.map(call, range(40)))) == 40
