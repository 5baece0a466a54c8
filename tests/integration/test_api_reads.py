"""Reads and uploads against the stand-in: how often they are made, and what they tell."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from replibatch.errors import ApiUnreachable, AttemptFailure, NotThere, Throttled
from replibatch.replicate_api import client
from replibatch.sandbox.odd_rows import ODD_ROWS
from tests.support.account import Reads, account, create, ended, inputs, write
from tests.support.catalogue import FLUX, QWEN
from tests.support.odd_server import OddServer, answer
from tests.support.sandbox_caller import Caller


class TestReads:
    def test_every_read_is_counted_and_no_create_is(self, sandbox, tmp_path):
        reads = Reads()
        with account(sandbox.url, await_read=reads) as api:
            prediction = create(api, FLUX, inputs("a fox"), 60)
            assert reads.count == 0
            api.get(prediction.id)
            api.cancel(prediction.id)
            api.account()
            api.upload(write(tmp_path, "a.png"), "a.png")
            assert len(list(api.newest())) == 1
            assert reads.count == 5 == sum(sandbox.books.reads_by_kind.values())

    def test_a_failed_read_is_made_once(self, sandbox, api):
        prediction = create(api, FLUX, inputs("a fox"), 60)
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
                made = list(pool.map(lambda number: create(api, QWEN, inputs(f"p{number}"), 60), range(250)))
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

    def test_half_a_character_in_a_text_of_any_model_breaks_no_list(self):
        row = r'{"id": "%s", "status": "succeeded", "output": "cut off \ud83d", "input": {"prompt": "p"}}'
        page = f'{{"next": null, "results": [{row % "a"}, {row % "b"}]}}'
        with OddServer(answer(200, page)) as server, account(server.url) as api:
            (rows,) = api.newest()
        assert [(item.id, item.output) for item in rows] == [("a", "cut off ?"), ("b", "cut off ?")]

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

    def test_a_cancel_that_is_not_known_says_nothing_and_a_read_does(self, api):
        assert api.cancel("unknown") is None
        with pytest.raises(NotThere):
            api.get("unknown")

    def test_a_gateways_words_say_nothing_of_it(self):
        with OddServer(answer(404, "<html>not found</html>")) as server, account(server.url) as api:
            file = f"{server.url}/v1/files/a"
            for call in (lambda: api.cancel("a"), lambda: api.get("a"), lambda: api.has_file(file)):
                with pytest.raises(ApiUnreachable, match="404"):
                    call()

    @pytest.mark.parametrize("kind", ODD_ROWS)
    def test_a_row_that_cannot_be_read_harms_no_other(self, kind):
        row = {"id": "odd", "status": "succeeded", "created_at": "2026-11-20T12:00:00Z", "output": "x"}
        odd = ODD_ROWS[kind](row)
        good = '{"id": "%s", "status": "succeeded", "created_at": "2026-11-20T12:00:00.123456789Z", "output": "]}"}'
        page = f'{{"next": null, "results": [{good % "a"}, {odd}, {good % "b"}], "previous": null}}'
        with OddServer(answer(200, page)) as server, account(server.url) as api:
            (rows,) = api.newest()
        assert [row.id for row in rows if row.id != "odd"] == ["a", "b"]
        assert all(row.output == "]}" for row in rows if row.id != "odd")

    def test_a_body_without_an_end_is_not_read_for_ever(self, monkeypatch):
        monkeypatch.setattr(client, "MOST_BODY_BYTES", 1000)
        with (
            OddServer(answer(200, "[" * 5000)) as server,
            account(server.url) as api,
            pytest.raises(ApiUnreachable, match="1,000 bytes"),
        ):
            api.account()

    @pytest.mark.parametrize("marker", ["aborted", "canceled", "failed"])
    def test_every_end_is_told(self, api, marker):
        assert ended(api, create(api, FLUX, inputs(f"[[{marker}]]"), 60).id) == marker

    def test_an_upload_is_sent_whole_and_serves_as_an_input(self, sandbox, api, tmp_path):
        content = bytes(range(256)) * 1000
        url = api.upload(write(tmp_path, "größe 1.png", content), "größe 1.png")
        with Caller(sandbox) as caller:
            file = caller.http.get(url).raise_for_status().json()
        assert (file["size"], file["content_type"]) == (len(content), "image/png")
        assert ended(api, create(api, FLUX, inputs("a fox", image=url), 60).id) == "succeeded"

    def test_an_upload_that_is_too_large_or_refused_is_one_failure(self, sandbox, api, tmp_path):
        sandbox.settings.max_upload_bytes = 10
        with pytest.raises(AttemptFailure, match="less than"):
            api.upload(write(tmp_path, "a.png", b"x" * 11), "a.png")
        sandbox.settings.reads_per_minute = 0
        with pytest.raises(Throttled):
            api.upload(write(tmp_path, "a.png"), "a.png")
