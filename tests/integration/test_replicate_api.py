"""The client against the stand-in: what it sends, how often, and what the answers come to. The books decide."""

from __future__ import annotations

import logging
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from pydantic import SecretStr

from replibatch.errors import (
    AttemptFailure,
    InvalidInput,
    MaybeCreated,
    ModelMissing,
    NoCredit,
    NotCreated,
    ReplibatchError,
    Throttled,
    TokenRefused,
)
from replibatch.replicate_api import ReplicateAPI
from replibatch.sandbox import Sandbox, SandboxSettings
from tests.integration.account import TOKEN, Reads, account, chain, inputs, write
from tests.integration.odd_server import OddServer, answer
from tests.integration.sandbox_caller import FLUX, QWEN, Caller, wait_for


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A stand-in whose predictions take 50 ms and that lets in our token alone."""
    settings = SandboxSettings(latency_seconds=0.05, accepted_tokens=frozenset({SecretStr(TOKEN)}))
    with Sandbox(settings) as running:
        yield running


@pytest.fixture
def api(sandbox: Sandbox) -> Iterator[ReplicateAPI]:
    with account(sandbox.url) as opened:
        yield opened


def ended(api: ReplicateAPI, prediction_id: str) -> str:
    wait_for(lambda: api.get(prediction_id).is_over)
    return api.get(prediction_id).status


class TestCreate:
    def test_the_prediction_is_known_before_it_runs(self, sandbox, api):
        sandbox.settings.latency_seconds = 30
        began = time.monotonic()
        prediction = api.create(FLUX, inputs("a fox", seed=1), 60)
        assert time.monotonic() - began < 2
        assert prediction.status == "starting"
        assert prediction.model == FLUX
        assert prediction.input == inputs("a fox", seed=1)
        assert sandbox.books.in_flight == 1
        assert api.cancel(prediction.id).status == "canceled"
        assert sandbox.books.cancels == 1

    def test_cancel_after_is_sent_in_whole_seconds_and_never_less_than_allowed(self, sandbox, api):
        with Caller(sandbox) as caller:
            caller.http.headers["Authorization"] = f"Bearer {TOKEN}"
            for asked, sent in ((7.4, 7), (1800.0, 1800), (0.3, 5)):
                prediction = api.create(FLUX, inputs("a fox"), asked)
                seen = caller.get({"id": prediction.id})
                assert prediction.created_at is not None
                deadline = prediction.from_json({**seen, "created_at": seen["deadline"]}).created_at
                assert deadline is not None
                assert deadline - prediction.created_at == timedelta(seconds=sent)

    def test_replicate_ends_what_takes_too_long(self, sandbox, api):
        sandbox.settings.minimum_cancel_after_seconds = 0
        sandbox.settings.latency_seconds = 60
        prediction = api.create(FLUX, inputs("a fox"), 5)
        with Caller(sandbox) as caller:
            caller.http.headers["Authorization"] = f"Bearer {TOKEN}"
            response = caller.post("a fox", headers={"Cancel-After": "0s"})
        assert ended(api, response.json()["id"]) == "aborted"
        assert not api.get(prediction.id).is_over

    def test_a_model_of_a_version_is_named_by_it(self):
        reply = answer(201, '{"id": "a", "status": "starting"}')
        with OddServer(reply) as server, account(server.url) as api:
            api.create("me/mine:abc123", inputs("a fox"), 60)
            api.create("me/mine", inputs("a fox"), 60)
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
            api.create(FLUX, inputs(f"a fox [[{marker}]]"), 60)
        assert type(caught.value) is kind
        books = sandbox.books
        assert len(books.post_times) == 1
        assert len(books.create_times) == marker.endswith("-after")

    def test_though_the_reply_never_comes(self, sandbox):
        with account(sandbox.url, settle_seconds=0.5) as api:
            began = time.monotonic()
            with pytest.raises(MaybeCreated):
                api.create(FLUX, inputs("a fox [[hang-reply]]"), 60)
            assert time.monotonic() - began < 0.5, "a create gives up before the settle time is over"
            wait_for(lambda: sandbox.books.posts_by_status["no reply"] == 1)
        assert len(sandbox.books.post_times) == len(sandbox.books.create_times) == 1

    def test_by_hundreds_of_threads_and_under_every_fault(self, sandbox, api):
        sandbox.settings.fault_rates = dict.fromkeys(("500-before", "502-after", "drop-before", "drop-after"), 0.1)

        def create(number: int) -> str:
            try:
                return api.create(FLUX, inputs(f"p{number}"), 60).id
            except MaybeCreated:
                return "?"

        with ThreadPoolExecutor(100) as pool:
            answers = list(pool.map(create, range(300)))
        books = sandbox.books
        assert len(books.post_times) == 300
        assert answers.count("?") == 300 - books.posts_by_status["201"] - books.posts_by_status["202"]
        assert all(len(bill.prediction_ids) == 1 for bill in books.bills())

    def test_though_the_server_closes_the_connection_it_was_to_go_through(self, api, sandbox):
        """A connection the server closes while idle is not mistaken for a lost reply, nor the POST repeated."""
        api.create(FLUX, inputs("p0"), 60)
        url = sandbox.url
        sandbox.stop()
        with pytest.raises(NotCreated, match="no connection"):
            api.create(FLUX, inputs("p1"), 60)
        with Sandbox(port=int(url.rpartition(":")[2])) as again:
            api.create(FLUX, inputs("p2"), 60)
            assert len(again.books.post_times) == 1


class TestRefused:
    def test_by_the_input(self, api, sandbox):
        with pytest.raises(InvalidInput, match="prompt is required"):
            api.create(FLUX, {}, 60)
        assert sandbox.books.posts_by_status == {"422": 1}

    def test_by_the_model(self, api):
        with pytest.raises(ModelMissing):
            api.create("nobody/nothing", inputs("a fox"), 60)

    def test_by_the_credit(self, sandbox, api):
        sandbox.settings.credit_usd = 0.0
        with pytest.raises(NoCredit, match="insufficient credit"):
            api.create(FLUX, inputs("a fox"), 60)

    def test_by_the_token(self, sandbox):
        with account(sandbox.url, token="another") as api:
            for call in (lambda: api.create(FLUX, inputs("a fox"), 60), api.account, lambda: api.get("x")):
                with pytest.raises(TokenRefused, match="does not accept the token"):
                    call()
        assert not sandbox.books.create_times

    @pytest.mark.parametrize(
        ("style", "seconds"), [("header", 1), ("body", 1), ("available", 1), ("resets", 1), ("none", None)]
    )
    def test_for_now(self, sandbox, api, style, seconds):
        sandbox.settings.retry_after = style
        with pytest.raises(Throttled) as caught:
            api.create(FLUX, inputs("a fox [[429]]"), 60)
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
            with pytest.raises(MaybeCreated):
                api.create(FLUX, inputs("a fox"), 60)
            with pytest.raises(NotCreated):
                api.get("a")
        assert len(server.requests) == 2


class TestMayCreate:
    def test_nothing_is_sent_once_it_may_not(self, sandbox):
        with account(sandbox.url, may_create=lambda: False) as api, pytest.raises(NotCreated, match="not sent"):
            api.create(FLUX, inputs("a fox"), 60)
        assert not sandbox.books.post_times

    def test_it_is_asked_right_before_the_request_is_written(self):
        """After the wait for a connection: a process may have been stopped just then."""
        seen: list[int] = []
        reply = answer(201, '{"id": "a", "status": "starting"}')
        with OddServer(reply) as server:

            def may_create() -> bool:
                wait_for(lambda: server.connections == 1)
                seen.append(len(server.requests))
                return True

            with account(server.url, may_create=may_create) as api:
                api.create(FLUX, inputs("a fox"), 60)
        assert seen == [0], "connected, and nothing written"

    def test_the_next_create_is_sent_again(self, sandbox):
        allowed = [False, True]
        with account(sandbox.url, may_create=lambda: allowed.pop(0)) as api:
            with pytest.raises(NotCreated):
                api.create(FLUX, inputs("p"), 60)
            api.create(FLUX, inputs("p"), 60)
        assert len(sandbox.books.post_times) == 1

    def test_reads_do_not_ask(self, sandbox):
        with account(sandbox.url, may_create=lambda: False) as api:
            assert api.account() == "sandbox"


class TestTimeOuts:
    def test_no_server_at_all(self):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        with account(url) as api:
            with pytest.raises(NotCreated, match="no connection"):
                api.create(FLUX, inputs("a fox"), 60)
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
                with pytest.raises(NotCreated, match="ConnectTimeout"):
                    api.create(FLUX, inputs("a fox"), 60)
                assert time.monotonic() - began < 0.5
            for one in waiting:
                one.close()

    def test_creates_that_hang_do_not_starve_reads_for_ever(self, sandbox):
        with account(sandbox.url, settle_seconds=1.0) as api, ThreadPoolExecutor(30) as pool:
            hanging = [pool.submit(api.create, FLUX, inputs(f"[[hang-reply]] {n}"), 60) for n in range(30)]
            wait_for(lambda: len(sandbox.books.post_times) > 0)
            assert api.account() == "sandbox"
            assert {type(one.exception(10)) for one in hanging} == {MaybeCreated}


class TestReads:
    def test_every_read_is_counted_and_no_create_is(self, sandbox, tmp_path):
        reads = Reads()
        with account(sandbox.url, await_read=reads) as api:
            prediction = api.create(FLUX, inputs("a fox"), 60)
            assert reads.count == 0
            api.get(prediction.id)
            api.cancel(prediction.id)
            api.account()
            api.upload(write(tmp_path, "a.png"), "a.png")
            assert len(list(api.newest())) == 1
            assert reads.count == 5 == sum(sandbox.books.reads_by_kind.values())

    def test_a_failed_read_is_made_once(self, sandbox, api):
        prediction = api.create(FLUX, inputs("a fox"), 60)
        sandbox.settings.fault_rates = {"failed-reads": 1.0}
        for call in (lambda: api.get(prediction.id), lambda: next(api.newest()), api.account):
            sandbox.books.reset()
            with pytest.raises(AttemptFailure, match="HTTP 503"):
                call()
            assert sum(sandbox.books.reads_by_kind.values()) == 1

    def test_the_list_is_turned_page_by_page(self, sandbox):
        reads = Reads()
        with account(sandbox.url, await_read=reads) as api:
            with ThreadPoolExecutor(20) as pool:
                made = list(pool.map(lambda number: api.create(QWEN, inputs(f"p{number}"), 60), range(250)))
            pages = api.newest()
            assert len(next(pages)) == 100
            assert reads.count == 1
            rows = [row for page in api.newest() for row in page]
            assert {row.id for row in rows} == {prediction.id for prediction in made}
            times = [row.created_at for row in rows if row.created_at]
            assert times == sorted(times, reverse=True)
            middle = times[120]
            after = [row.id for page in api.newest(created_after=middle) for row in page]
            before = [row.id for page in api.newest(created_before=middle) for row in page]
            assert after == [row.id for row in rows[:121]]
            assert before == [row.id for row in rows[121:]]

    def test_a_status_nobody_knows_breaks_no_list(self):
        rows = (
            '{"id": "a", "status": "succeeded"}, {"id": "b", "status": "pondering"}, {"id": "c", "status": "aborted"}'
        )
        with OddServer(answer(200, f'{{"next": null, "results": [{rows}]}}')) as server, account(server.url) as api:
            (page,) = api.newest()
        assert [(row.id, row.is_over) for row in page] == [("a", True), ("b", False), ("c", True)]

    def test_the_next_page_is_asked_of_the_same_server_under_the_same_path(self):
        """Behind a proxy with a path of its own, and whatever host the reply names."""
        first = '{"next": "http://elsewhere.example/under/v1/predictions?cursor=x", "results": []}'
        last = '{"next": null, "results": []}'
        with OddServer(answer(200, first), answer(200, last)) as server, account(server.url + "/under") as api:
            list(api.newest())
        assert [request.split()[1] for request in server.requests] == [
            b"/under/v1/predictions",
            b"/under/v1/predictions?cursor=x",
        ]

    @pytest.mark.parametrize("marker", ["aborted", "canceled", "failed"])
    def test_every_end_is_told(self, api, marker):
        assert ended(api, api.create(FLUX, inputs(f"[[{marker}]]"), 60).id) == marker

    def test_an_upload_is_sent_whole_and_serves_as_an_input(self, sandbox, api, tmp_path):
        content = bytes(range(256)) * 1000
        url = api.upload(write(tmp_path, "größe 1.png", content), "größe 1.png")
        with Caller(sandbox) as caller:
            caller.http.headers["Authorization"] = f"Bearer {TOKEN}"
            file = caller.http.get(url).raise_for_status().json()
        assert (file["size"], file["content_type"]) == (len(content), "image/png")
        assert ended(api, api.create(FLUX, inputs("a fox", image=url), 60).id) == "succeeded"

    def test_an_upload_that_is_too_large_or_refused_is_one_failure(self, sandbox, api, tmp_path):
        sandbox.settings.max_upload_bytes = 10
        with pytest.raises(AttemptFailure, match="HTTP 413"):
            api.upload(write(tmp_path, "a.png", b"x" * 11), "a.png")
        sandbox.settings.reads_per_minute = 0
        with pytest.raises(Throttled):
            api.upload(write(tmp_path, "a.png"), "a.png")


class TestToken:
    def failures(self, sandbox: Sandbox) -> Iterator[ReplibatchError]:
        """One of every kind a client with a good token can meet."""
        markers = ["500-before", "502-after", "drop-before", "drop-after", "429", "hang-reply"]
        with account(sandbox.url, settle_seconds=0.3) as api:
            calls: list[Callable[[], object]] = [
                lambda marker=marker: api.create(FLUX, inputs(f"[[{marker}]]"), 60)  # type: ignore[misc]
                for marker in markers
            ]
            calls += [lambda: api.create(FLUX, {}, 60), lambda: api.get("unknown"), lambda: api.cancel("unknown")]
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
            api.create(FLUX, inputs("a fox"), 60)
            api.account()
            api.upload(write(tmp_path, "a.png"), "a.png")
            list(api.newest())
            assert TOKEN not in repr(api) + repr(vars(api))
        assert len(server.requests) == 4
        for request in server.requests:
            assert request.count(TOKEN.encode()) == 1
            assert f"Bearer {TOKEN}".encode() in request.partition(b"\r\n\r\n")[0]


def test_threads_that_share_it_are_served(sandbox: Sandbox) -> None:
    with account(sandbox.url) as api:
        together = threading.Barrier(40)

        def call(number: int) -> str:
            together.wait()
            return api.create(FLUX, inputs(f"p{number}"), 60).id

        with ThreadPoolExecutor(40) as pool:
            assert len(set(pool.map(call, range(40)))) == 40
