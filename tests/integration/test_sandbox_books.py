"""The stand-in's books, checked against known traffic; its settings, and the server itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from replibatch import catalog
from replibatch.errors import SettingsError
from replibatch.sandbox import Sandbox, SandboxSettings
from replibatch.sandbox.books import most_in_window
from tests.support.catalogue import FLUX, KONTEXT, QWEN, VEO
from tests.support.sandbox_caller import Caller, wait_for


def test_in_flight_counts_from_the_create_to_the_end(call: Caller) -> None:
    books = call.sandbox.books
    call.sandbox.settings.latency_seconds = 30
    running = [call.create(f"x {number}") for number in range(3)]
    assert (books.in_flight, books.peak_in_flight) == (3, 3)
    for prediction in running[:2]:
        call.http.post(f"/v1/predictions/{prediction['id']}/cancel")
    assert (books.in_flight, books.peak_in_flight) == (1, 3)
    call.create("y")
    assert (books.in_flight, books.peak_in_flight) == (2, 3)


def test_a_create_whose_reply_was_lost_is_in_flight_too(call: Caller) -> None:
    call.sandbox.settings.latency_seconds = 30
    assert call.post("[[502-after]]").status_code == 502
    assert call.sandbox.books.in_flight == 1


def test_busy_slot_seconds_are_the_area_under_in_flight_up_to_the_last_create(call: Caller) -> None:
    books = call.sandbox.books
    call.sandbox.settings.latency_seconds = 30
    first = call.create("a")
    time.sleep(0.1)
    call.create("b")
    time.sleep(0.1)
    call.http.post(f"/v1/predictions/{first['id']}/cancel")
    ended = datetime.fromisoformat(call.get(first)["completed_at"]).timestamp()
    time.sleep(0.1)
    call.create("c")
    begun = list(books.create_times)
    area = (begun[1] - begun[0]) + 2 * (ended - begun[1]) + (begun[2] - ended)
    assert books.busy_slot_seconds == pytest.approx(area, abs=1e-4)
    time.sleep(0.05)
    assert books.busy_slot_seconds == pytest.approx(area, abs=1e-4)  # nothing after the last create counts


@pytest.mark.parametrize(
    ("times", "seconds", "most"),
    [([], 1, 0), ([5], 1, 1), ([0, 1], 1, 1), ([0, 0.999], 1, 2), ([0, 0.5, 0.9, 1.4, 1.45, 3], 1, 4)],
)
def test_the_most_in_any_sliding_window(times: list[float], seconds: float, most: int) -> None:
    assert most_in_window(times, seconds) == most


def test_a_success_is_billed_its_price_and_a_failure_nothing(call: Caller) -> None:
    models = catalog.load().models
    call.ended("a fox", num_outputs=3)
    call.ended("a clip", VEO)
    call.ended("[[failed]]", KONTEXT)
    call.ended("[[aborted]]", KONTEXT)
    books = call.sandbox.books
    assert books.bill(FLUX, {"num_outputs": 3, "prompt": "a fox"}).cost_usd == pytest.approx(
        3 * models[FLUX].price_usd
    )
    assert books.bill(VEO, {"prompt": "a clip"}).billed == 1
    assert books.bill(KONTEXT, {"prompt": "[[failed]]"}).billed == 0
    assert books.cost_usd == pytest.approx(3 * models[FLUX].price_usd + models[VEO].price_usd)
    assert books.ended_by_status == {"succeeded": 2, "failed": 1, "aborted": 1}


def test_a_canceled_run_is_billed_for_the_time_it_ran(call: Caller) -> None:
    price = catalog.load().models[FLUX].price_usd
    call.sandbox.settings.latency_seconds = 2
    call.sandbox.settings.starting_share = 0
    running = call.create("x")
    call.until(running, "processing")
    time.sleep(0.2)
    canceled = call.http.post(f"/v1/predictions/{running['id']}/cancel").json()
    share = canceled["metrics"]["predict_time"] / 2
    assert call.sandbox.books.bill(FLUX, {"prompt": "x"}).cost_usd == pytest.approx(price * share, rel=0.01)
    call.sandbox.settings.starting_share = 1
    unbegun = call.create("y")
    call.http.post(f"/v1/predictions/{unbegun['id']}/cancel")
    assert call.sandbox.books.bill(FLUX, {"prompt": "y"}).billed == 0


def test_what_is_paid_twice_is_told_by_input_and_model(call: Caller) -> None:
    ids = [call.ended("x", aspect_ratio="1:1", seed=3)["id"], call.ended("x", seed=3, aspect_ratio="1:1")["id"]]
    call.ended("x", seed=4)
    call.ended("x", QWEN, seed=3)
    call.ended("[[failed:1]]", seed=3)
    call.ended("[[failed:1]]", seed=3)
    books = call.sandbox.books
    (twice,) = books.paid_twice()
    assert (twice.model, twice.billed, twice.prediction_ids) == (FLUX, 2, ids)
    assert twice.input == {"prompt": "x", "seed": 3, "aspect_ratio": "1:1"}
    assert books.billed_by_prompt() == {"x": 4, "[[failed:1]]": 1}
    assert len(books.bills()) == 4


def test_known_traffic_from_many_threads_is_counted_exactly(call: Caller) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: call.ended(f"x {number % 40}"), range(80)))
    books = call.sandbox.books
    assert (len(books.create_times), books.in_flight) == (80, 0)
    assert 1 <= books.peak_in_flight <= 16
    assert books.posts_by_status == {"201": 80} and len(books.post_times) == 80
    assert len(books.paid_twice()) == 40
    assert sum(bill.billed for bill in books.bills()) == 80
    assert books.most_creates(60) == books.most_posts(60) == 80
    assert books.most_reads() == books.reads_by_kind["get"] >= 80


def test_the_books_are_read_and_reset_over_http(call: Caller) -> None:
    ended = call.ended("x", seed=1)
    call.anybody.get(ended["output"][0])
    call.listed()
    books = call.anybody.get("/books", params={"window_seconds": 5}).json()
    assert (books["creates"], books["billed"], books["cost_usd"], books["outputs_served"]) == (1, 1, 0.025, 1)
    assert (books["window_seconds"], books["most_creates_in_window"], len(books["create_times"])) == (5, 1, 1)
    assert books["reads_by_kind"]["list"] == 1 and books["posts_by_status"] == {"201": 1}
    assert books["bills"] == [
        {
            "model": FLUX,
            "input": {"prompt": "x", "seed": 1},
            "prediction_ids": [ended["id"]],
            "billed": 1,
            "cost_usd": 0.025,
        }
    ]
    assert "bills" not in call.anybody.get("/books", params={"summary": 1}).json()
    assert call.anybody.get("/books", params={"window_seconds": "long"}).status_code == 422
    call.sandbox.settings.latency_seconds = 30
    call.create("y")
    reset = call.anybody.post("/books/reset").json()
    assert (reset["creates"], reset["billed"], reset["in_flight"], reset["peak_in_flight"]) == (0, 0, 1, 1)


# Settings and the server itself


def test_settings_change_over_http_all_or_none(call: Caller) -> None:
    changed = call.anybody.post("/settings", json={"latency_seconds": 0, "broken_models": [FLUX]}).json()
    assert (changed["latency_seconds"], changed["broken_models"]) == (0, [FLUX])
    assert call.ended("x")["status"] == "failed"
    for wrong in ({"speed": 5, "jitter": 2}, {"nonesuch": 1}, {"fault_rates": {"earthquake": 1}}, [1]):
        refused = call.anybody.post("/settings", json=wrong)
        assert refused.status_code == 422, wrong
    assert "no fault of that name" in call.anybody.post("/faults", json={"earthquake": 1}).json()["detail"]
    assert call.sandbox.settings.speed == 1


def test_fault_rates_change_over_http(call: Caller) -> None:
    assert call.anybody.post("/faults", json={"500-before": 1}).json() == {"500-before": 1}
    assert call.post("x").status_code == 500
    assert call.anybody.post("/faults", json={}).json() == call.anybody.get("/faults").json() == {}
    assert call.post("x").status_code == 201


def test_a_models_schema_is_that_of_the_catalogue(call: Caller) -> None:
    view = call.http.get(f"/v1/models/{FLUX}").json()
    schemas = view["latest_version"]["openapi_schema"]["components"]["schemas"]
    assert (view["owner"], view["name"], schemas["Output"]["type"]) == ("black-forest-labs", "flux-dev", "array")
    assert schemas["Input"]["required"] == ["prompt"]
    properties = schemas["Input"]["properties"]
    assert set(properties) == set(catalog.load().models[FLUX].inputs)
    assert (properties["num_outputs"]["minimum"], properties["num_outputs"]["maximum"]) == (1, 4)
    assert (properties["image"]["type"], properties["image"]["format"]) == ("string", "uri")
    assert properties["output_format"]["allOf"] == [{"$ref": "#/components/schemas/output_format"}]
    assert schemas["output_format"]["enum"] == ["webp", "jpg", "png"]


def test_a_port_in_use_is_told_in_one_line(call: Caller) -> None:
    port = httpx.URL(call.sandbox.url).port
    with pytest.raises(SettingsError, match=rf"cannot serve on 127\.0\.0\.1:{port}: Address already in use"):
        Sandbox(port=port or 0)


def test_it_stops_with_connections_and_predictions_open_and_its_books_stay() -> None:
    with Sandbox(SandboxSettings(latency_seconds=30)) as sandbox, Caller(sandbox) as other:
        other.create("x")
        with ThreadPoolExecutor(1) as pool:
            held = pool.submit(other.post, "[[hang-reply]]")
            wait_for(lambda: len(sandbox.books.create_times) == 2)
            sandbox.stop()
            assert isinstance(held.exception(), httpx.RemoteProtocolError)
    assert sandbox.books.in_flight == 2
    with pytest.raises(httpx.ConnectError):
        httpx.get(sandbox.url, verify=False)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_served_as_a_process_it_says_nothing_and_ends_on_a_signal(stop: signal.Signals, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = "import pathlib, sys, replibatch.sandbox as s; s.serve(on_ready=pathlib.Path(sys.argv[1]).write_text)"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(ready)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        wait_for(lambda: ready.exists() and ready.read_text() != "", 20)
        url = ready.read_text()
        assert httpx.get(f"{url}/books", verify=False).json()["creates"] == 0
        process.send_signal(stop)
        said, _ = process.communicate(timeout=5)
        assert (process.returncode, said) == (0, b"")
    finally:
        process.kill()
