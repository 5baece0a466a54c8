"""The stand-in answers as Replicate was recorded, headers, bodies, times and sizes; and misleads to order."""

from __future__ import annotations

import json
import statistics
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from replibatch.sandbox.echoes import ECHOES, REDACTED
from replibatch.sandbox.odd_rows import ODD_ROWS
from tests.support.catalogue import FLUX, KONTEXT, NANO, QWEN
from tests.support.sandbox_caller import Caller, wait_for

DATA_URI = "data:image/png;base64,iVBORw0KGgo="

# Headers, bodies, times, sizes


def test_answers_carry_the_headers_of_the_way_and_of_the_limits(call: Caller) -> None:
    created = call.post("x")
    assert (created.headers["ratelimit-remaining"], created.headers["ratelimit-reset"]) == ("599", "1")
    assert (created.headers["via"], created.headers["server"]) == ("1.1 google", "cloudflare")
    assert call.http.get("/v1/account").headers["ratelimit-remaining"] == "2999"


def test_a_long_answer_is_compressed_and_chunked_for_who_accepts_that(call: Caller) -> None:
    prediction = call.ended("x")
    path = f"/v1/predictions/{prediction['id']}"
    short, long = call.http.get("/v1/account"), call.http.get(path)
    assert "content-encoding" not in short.headers and "content-length" in short.headers
    assert (long.headers["content-encoding"], long.headers["transfer-encoding"]) == ("gzip", "chunked")
    assert "content-length" not in long.headers
    plain = call.http.get(path, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers and plain.json() == long.json()


def test_fresh_rows_tell_nanoseconds_and_listed_ones_microseconds_and_null(call: Caller) -> None:
    call.sandbox.settings.latency_seconds = 30
    created = call.create("x")
    (row,) = call.listed()["results"]
    fraction, listed = (row["created_at"].partition(".")[2].rstrip("Z") for row in (created, row))
    assert len(listed) == 6 and len(fraction) > 6
    assert fraction.startswith(listed) and not fraction.endswith("0")
    assert row["output"] is row["completed_at"] is None and row["source"] == "api"


def test_rows_are_as_long_as_real_ones_where_that_is_set(call: Caller) -> None:
    for number in range(100):
        call.create(f"x {number}")
    wait_for(lambda: call.sandbox.books.in_flight == 0)
    small = call.listed()["results"]
    call.sandbox.settings.row_sizes = "realistic"
    sizes = sorted(len(json.dumps(row)) for row in call.listed()["results"])
    assert max(len(json.dumps(row)) for row in small) < 1500
    assert 1500 < statistics.median(sizes) < 8000 and sizes[90] > 10_000
    assert call.listed() == call.listed()


# Echoes


def told(call: Caller, kind: str, model: str = NANO, **inputs: Any) -> dict[str, Any]:
    created = call.create(f"a fox [[{kind}]]", model, **inputs)
    (row,) = call.listed()["results"]
    assert {name: row.get(name) for name in ("model", "input", "version")} == {
        name: created.get(name) for name in ("model", "input", "version")
    }
    return row


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("echo-redacted", "aspect_ratio", REDACTED),
        ("echo-no-data-uris", "image_input", None),
        ("echo-data-uris-as-addresses", "image_input", ["https://replicate.delivery/"]),
        ("echo-defaults", "output_format", "jpg"),
    ],
)
def test_an_echo_tells_another_input(call: Caller, kind: str, name: str, value: Any) -> None:
    inputs = told(call, kind, image_input=[DATA_URI], aspect_ratio="16:9")["input"]
    assert inputs["prompt"] == f"a fox [[{kind}]]"
    found = inputs.get(name)
    assert found[0].startswith(value[0]) if isinstance(value, list) else found == value


def test_an_echo_changes_numbers_uploads_model_and_version(call: Caller) -> None:
    assert told(call, "echo-numbers-as-text", FLUX, seed=7)["input"]["seed"] == "7"
    call.sandbox.settings.fault_rates = {"echo-uploads-rewritten": 1.0, "echo-alias": 1.0, "echo-version-null": 1.0}
    url = call.http.post("/v1/files", files={"content": b"png"}).json()["urls"]["get"]
    created = call.create("x", NANO, image_input=[url])
    assert created["input"]["image_input"][0].startswith("https://replicate.delivery/")
    assert (created["model"], created["version"]) == ("replicate-internal/nano-banana-int8-triton", None)
    call.sandbox.settings.fault_rates = {"echo-no-model": 1.0, "echo-no-input": 1.0}
    assert not {"model", "input"} & call.create("x").keys()


def test_the_list_alone_tells_another_echo_and_another_time(call: Caller) -> None:
    call.sandbox.settings.echoes_in = frozenset({"list"})
    call.sandbox.settings.listed_created_later_seconds = 1.5
    call.sandbox.settings.latency_seconds = 30
    created = call.create("[[echo-no-input]] [[echo-alias]]")
    (row,) = call.listed()["results"]
    assert created["model"] == call.get(created)["model"] == FLUX and "input" in created
    assert row["model"] != FLUX and "input" not in row
    told, listed = (datetime.fromisoformat(each["created_at"]) for each in (created, row))
    assert (listed - told).total_seconds() == pytest.approx(1.5, abs=1e-5)
    assert call.listed(created_after=(told + timedelta(seconds=1)).isoformat())["results"] == [row]
    assert call.listed(created_before=(told + timedelta(seconds=1)).isoformat())["results"] == []


def test_every_echo_leaves_the_books_as_they_are(call: Caller) -> None:
    for kind in ECHOES:
        call.ended(f"[[{kind}]]", seed=7)
        assert call.sandbox.books.bill(FLUX, {"prompt": f"[[{kind}]]", "seed": 7}).billed == 1


# Lists that mislead


def test_a_list_lags_or_hides_a_row_and_a_get_does_not(call: Caller) -> None:
    ids = [call.create(prompt)["id"] for prompt in ("[[listed-never]]", "[[listed-late:600]]", "x")]
    assert [row["id"] for row in call.listed()["results"]] == ids[2:]
    call.sandbox.settings.list_lag_seconds = 0.3
    late = call.create("y")
    assert [row["id"] for row in call.listed()["results"]] == ids[2:]
    wait_for(lambda: call.listed()["results"][0]["id"] == late["id"])
    assert call.get({"id": ids[0]})["id"] == ids[0]


def test_pages_stay_full_where_rows_between_are_hidden(call: Caller) -> None:
    call.sandbox.settings.list_page_rows = 3
    ids = [call.create("[[listed-never]]" if number % 2 else "x")["id"] for number in range(10)]
    seen, page = [], call.listed()
    while page["results"]:
        seen.append([row["id"] for row in page["results"]])
        page = call.http.get(page["next"]).json() if page["next"] else {"results": []}
    assert seen == [[ids[8], ids[6], ids[4]], [ids[2], ids[0]]]


def test_a_list_ignores_its_filter_or_drops_it_on_later_pages(call: Caller) -> None:
    settings = call.sandbox.settings
    settings.list_page_rows = 2
    rows = [call.create(f"x {number}") for number in range(6)]
    after = rows[4]["created_at"]
    assert call.listed(created_after=after)["next"] is None
    settings.drop_filter_on_pages = True
    page = call.listed(created_after=after)
    assert [row["id"] for row in call.http.get(page["next"]).json()["results"]] == [rows[3]["id"], rows[2]["id"]]
    settings.drop_filter_on_pages, settings.ignore_created_after = False, True
    assert call.listed(created_after=after)["next"]
    wait_for(lambda: call.sandbox.books.in_flight == 0)
    settings.list_page_rows, settings.endless_pages = 100, True
    assert call.http.get(call.listed()["next"]).json()["results"] == call.listed()["results"]


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        ("list-404-api", 404, "could not be found"),
        ("list-405-api", 405, "not allowed"),
        ("list-403-cdn", 403, "Cloudflare"),
        ("list-404-balancer", 404, "response 404 (backend NotFound)"),
    ],
)
def test_a_list_answers_otherwise(call: Caller, kind: str, status: int, words: str) -> None:
    created = call.create("x")
    call.sandbox.settings.fault_rates = {kind: 1.0}
    answer = call.http.get("/v1/predictions")
    assert answer.status_code == status and words in answer.text
    assert call.get(created)["id"] == created["id"]


def test_an_answer_comes_late_or_never_or_the_connection_ends(call: Caller) -> None:
    settings = call.sandbox.settings
    settings.slow_answer_seconds = 0.4
    settings.fault_rates = {"list-slow": 1.0}
    assert call.http.get("/v1/predictions").elapsed.total_seconds() >= 0.4
    settings.fault_rates = {"list-hang": 1.0}
    with pytest.raises(httpx.ReadTimeout):
        call.http.get("/v1/predictions", timeout=0.3)
    settings.fault_rates = {"list-drop": 1.0}
    with pytest.raises(httpx.RemoteProtocolError):
        call.http.get("/v1/predictions")


# Rows that cannot be read


@pytest.mark.parametrize("place", ["get", "list"])
def test_an_odd_row_spoils_itself_and_no_other(call: Caller, place: str) -> None:
    settings = call.sandbox.settings
    settings.latency_seconds = 30
    good = call.create("x")["id"]
    for kind, odd in ODD_ROWS.items():
        created = call.create(f"[[{kind}]]")
        path = f"/v1/predictions/{created['id']}" if place == "get" else "/v1/predictions"
        settings.odd_rows_in = frozenset()
        plain = call.http.get(path).text
        row = json.loads(plain) if place == "get" else json.loads(plain)["results"][0]
        settings.odd_rows_in = frozenset({"get", "list"})
        shown = call.http.get(path).text
        assert shown != plain and odd(row) in shown, kind
    assert f'"id":"{good}"' in call.http.get("/v1/predictions").text


# Models and places


def test_a_fault_strikes_one_model_and_its_answers_name_the_place(call: Caller) -> None:
    call.sandbox.settings.model_faults = {QWEN: {"create-404-balancer": 1.0}, KONTEXT: {"get-502-html": 1.0}}
    assert [call.post("x", model).status_code for model in (QWEN, KONTEXT, FLUX)] == [404, 201, 201]
    rows = call.listed()["results"]
    statuses = [call.http.get(f"/v1/predictions/{row['id']}").status_code for row in rows]
    assert statuses == [200, 502]


def test_a_page_after_the_create_hides_a_prediction_that_runs(call: Caller) -> None:
    assert call.post("[[created-200-portal:1]]").status_code == 200
    assert len(call.listed()["results"]) == 1
    assert call.sandbox.books.posts_by_status == {"200": 1}


def test_a_redirect_leads_to_a_portal(call: Caller) -> None:
    moved = call.post("[[create-301-html]]")
    assert (moved.status_code, moved.headers["location"]) == (301, "/portal")
    assert "Guest Wi-Fi" in call.http.get("/portal").text


def test_a_cancel_alone_says_that_it_knows_no_such_prediction(call: Caller) -> None:
    call.sandbox.settings.latency_seconds = 0.2
    created = call.create("[[cancel-404-api]]")
    assert call.http.post(f"/v1/predictions/{created['id']}/cancel").status_code == 404
    assert call.until(created, "succeeded")["output"]


def test_the_api_lies_below_a_prefix(call: Caller) -> None:
    call.sandbox.settings.path_prefix = "/replicate"
    assert call.http.get("/v1/account").text.startswith("response 404 (backend NotFound)")
    created = call.http.post(f"/replicate/v1/models/{FLUX}/predictions", json={"input": {"prompt": "x"}}).json()
    assert call.http.get(created["urls"]["get"]).json()["id"] == created["id"]
    assert call.http.get("/replicate/v1/v1/account").status_code == 404


def test_other_preferences_are_refused_where_that_is_set(call: Caller) -> None:
    call.sandbox.settings.strict_prefer = True
    for prefer, status in (("respond-async", 422), ("wait=61", 422), ("wait=0", 422), ("wait=1", 201), ("wait", 201)):
        assert call.post("x", headers={"Prefer": prefer}).status_code == status


# Predictions that never end


@pytest.mark.parametrize(
    ("kind", "status"),
    [("stuck", 200), ("stuck-starting", 200), ("stuck-404", 404), ("stuck-409", 409), ("stuck-500", 500)],
)
def test_a_stuck_prediction_stays_as_it_is_whatever_is_asked(call: Caller, kind: str, status: int) -> None:
    call.sandbox.settings.minimum_cancel_after_seconds = 0
    created = call.post(f"[[{kind}]]", headers={"Cancel-After": "0s"}).json()
    before = call.until(created, "starting" if kind == "stuck-starting" else "processing")
    answer = call.http.post(f"/v1/predictions/{created['id']}/cancel")
    assert answer.status_code == status
    assert status != 200 or answer.json()["status"] == before["status"]
    assert call.get(created)["status"] == before["status"]
    assert (call.sandbox.books.in_flight, call.sandbox.books.cancels) == (1, 0)


def test_a_cancel_of_a_stuck_prediction_hangs_and_the_prediction_ends_late(call: Caller) -> None:
    created = call.create("[[stuck-hang:1]]")
    with pytest.raises(httpx.ReadTimeout):
        call.http.post(f"/v1/predictions/{created['id']}/cancel", timeout=0.3)
    assert call.until(created, "succeeded")["output"]
    assert call.sandbox.books.bill(FLUX, {"prompt": "[[stuck-hang:1]]"}).billed == 1
