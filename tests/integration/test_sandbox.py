"""The stand-in for Replicate, over real HTTP: the API as Replicate's, faults to order, and books that are right."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import httpx
import pytest
from PIL import Image
from replicate.client import Client
from replicate.exceptions import ReplicateError

from replibatch import catalog
from replibatch.errors import SettingsError
from replibatch.sandbox import Sandbox, SandboxSettings

FLUX = "black-forest-labs/flux-dev"
KONTEXT = "black-forest-labs/flux-kontext-max"
BANANA = "google/nano-banana"
VEO = "google/veo-3-fast"
QWEN = "qwen/qwen-image"
TOKEN = {"Authorization": "Bearer some-token"}


class Caller:
    """Speaks to one stand-in, as a client with a token."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.http = httpx.Client(base_url=sandbox.url, headers=TOKEN, timeout=10)
        self.anybody = httpx.Client(base_url=sandbox.url, timeout=10)

    def post(
        self, prompt: str, model: str = FLUX, headers: dict[str, str] | None = None, **inputs: Any
    ) -> httpx.Response:
        body = {"input": {"prompt": prompt, **inputs}}
        return self.http.post(f"/v1/models/{model}/predictions", json=body, headers=headers)

    def create(self, prompt: str, model: str = FLUX, **inputs: Any) -> dict[str, Any]:
        response = self.post(prompt, model, **inputs)
        assert response.status_code == 201, response.text
        return response.json()

    def get(self, prediction: dict[str, Any]) -> dict[str, Any]:
        return self.http.get(f"/v1/predictions/{prediction['id']}").raise_for_status().json()

    def until(self, prediction: dict[str, Any], *statuses: str) -> dict[str, Any]:
        seen = {}

        def reached() -> bool:
            seen.update(self.get(prediction))
            return seen["status"] in statuses

        wait_for(reached)
        return seen

    def ended(self, prompt: str, model: str = FLUX, **inputs: Any) -> dict[str, Any]:
        return self.until(self.create(prompt, model, **inputs), "succeeded", "failed", "canceled", "aborted")

    def listed(self, **arguments: str) -> dict[str, Any]:
        return self.http.get("/v1/predictions", params=arguments).raise_for_status().json()


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)


@pytest.fixture
def call() -> Iterator[Caller]:
    with Sandbox(SandboxSettings(latency_seconds=0.02)) as sandbox:
        caller = Caller(sandbox)
        with caller.http, caller.anybody:
            yield caller


def image(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


# The life of a prediction


def test_a_prediction_starts_runs_and_succeeds(call: Caller) -> None:
    call.sandbox.settings.latency_seconds = 0.3
    call.sandbox.settings.starting_share = 0.5
    created = call.create("a red fox", aspect_ratio="16:9")
    assert created["status"] == "starting"
    assert created["output"] is None and created["started_at"] is None and created["completed_at"] is None
    assert call.until(created, "processing")["output"] is None
    ended = call.until(created, "succeeded")
    assert ended["model"] == FLUX and ended["version"] == "hidden" and ended["source"] == "api"
    assert ended["input"] == {"prompt": "a red fox", "aspect_ratio": "16:9"}
    assert ended["output"] == [f"{call.sandbox.url}/output/{created['id']}/0.webp"]
    assert 0.1 < ended["metrics"]["predict_time"] < ended["metrics"]["total_time"]
    moments = [datetime.fromisoformat(ended[key]) for key in ("created_at", "started_at", "completed_at")]
    assert moments == sorted(moments) and 0.3 <= (moments[2] - moments[0]).total_seconds() < 2


def test_the_replicate_client_runs_a_model_lists_uploads_and_cancels(call: Caller) -> None:
    client = Client(api_token="some-token", base_url=call.sandbox.url)
    client.poll_interval = 0.01
    assert client.run(BANANA, input={"prompt": "a boat"}).endswith("/0.jpg")
    assert client.accounts.current().username == "sandbox"
    assert [row.model for row in client.predictions.list().results] == [BANANA]
    file = client.files.create(io.BytesIO(b"bytes of an image"))
    assert file.size == 17
    assert [other.id for other in client.files.list()] == [file.id]
    call.sandbox.settings.latency_seconds = 30
    prediction = client.predictions.create(version=KONTEXT, input={"prompt": "x", "input_image": file.urls["get"]})
    prediction.cancel()
    prediction.reload()
    assert prediction.status == "canceled"
    assert client.files.delete(file.id)
    with pytest.raises(ReplicateError) as refused:
        client.files.get(file.id)
    assert refused.value.status == 404
    client._client.close()


def test_a_model_is_named_by_name_by_name_and_version_or_by_version(call: Caller) -> None:
    version = call.http.get(f"/v1/models/{QWEN}").json()["latest_version"]["id"]
    for name, shown in ((QWEN, "hidden"), (f"{QWEN}:{version}", version), (version, version)):
        created = call.http.post("/v1/predictions", json={"version": name, "input": {"prompt": "x"}}).json()
        assert (created["model"], created["version"]) == (QWEN, shown)
    for wrong in ("nobody/nothing", f"{FLUX}:{version}", "0" * 64):
        response = call.http.post("/v1/predictions", json={"version": wrong, "input": {"prompt": "x"}})
        assert response.status_code == 422
        assert response.json()["title"] == "Invalid version or not permitted"


def test_a_users_own_model_with_a_version_runs_by_its_version_alone(call: Caller) -> None:
    spec = catalog.load().models[FLUX].to_json() | {"name": "me/mine:" + "ab" * 32, "output": "text", "kind": "text"}
    own = catalog.Catalog({spec["name"]: catalog.Model.from_json(spec)}, None, None)  # type: ignore[arg-type]
    with Sandbox(SandboxSettings(latency_seconds=0), catalog=own) as sandbox:
        other = Caller(sandbox)
        with other.http, other.anybody:
            assert other.post("x", "me/mine").status_code == 404
            body = {"version": spec["name"], "input": {"prompt": "rain"}}
            created = other.http.post("/v1/predictions", json=body, headers={"Prefer": "wait"}).json()
            assert (created["model"], created["version"]) == ("me/mine", "ab" * 32)
            assert created["output"] == "A text about: rain"


def test_prefer_holds_the_reply_until_the_end_or_as_long_as_asked(call: Caller) -> None:
    done = call.post("x", headers={"Prefer": "wait"})
    assert (done.status_code, done.json()["status"]) == (201, "succeeded")
    assert call.post("x", headers={"Prefer": "respond-async"}).status_code == 202
    call.sandbox.settings.latency_seconds = 30
    began = time.monotonic()
    waiting = call.post("x", headers={"Prefer": "wait=1"})
    assert (waiting.status_code, waiting.json()["status"]) == (202, "starting")
    assert 1 <= time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("1h30m", 5400), ("2h30m15s", 9015), ("7", 7), ("5s", 5)]
)
def test_cancel_after_becomes_a_deadline(call: Caller, text: str, seconds: float) -> None:
    created = call.post("x", headers={"Cancel-After": text}).json()
    lifetime = datetime.fromisoformat(created["deadline"]) - datetime.fromisoformat(created["created_at"])
    assert lifetime.total_seconds() == pytest.approx(seconds, abs=1e-3)


@pytest.mark.parametrize("text", ["4s", "0", "soon", "", "5 minutes", "-5s"])
def test_a_cancel_after_that_is_too_short_or_no_duration_is_refused(call: Caller, text: str) -> None:
    refused = call.post("x", headers={"Cancel-After": text})
    assert refused.status_code == 422
    assert "Cancel-After" in refused.json()["detail"]
    assert call.listed()["results"] == []


def test_a_deadline_aborts_what_has_not_begun_and_cancels_what_runs(call: Caller) -> None:
    settings = call.sandbox.settings
    settings.minimum_cancel_after_seconds = 0
    settings.latency_seconds = 30
    settings.starting_share = 1.0
    unbegun = call.post("x", headers={"Cancel-After": "1s"}).json()
    settings.starting_share = 0.0
    begun = call.post("y", headers={"Cancel-After": "1s"}).json()
    hanging = call.post("[[hang]]", headers={"Cancel-After": "1s"}).json()
    assert call.until(unbegun, "aborted")["started_at"] is None
    assert call.until(begun, "canceled")["metrics"]["predict_time"] > 0.5
    call.until(hanging, "canceled")


def test_cancel_ends_a_prediction_once_and_leaves_a_finished_one_alone(call: Caller) -> None:
    finished = call.ended("x")
    call.sandbox.settings.latency_seconds = 30
    running = call.create("y")
    call.until(running, "starting", "processing")
    for prediction, status in ((finished, "succeeded"), (running, "canceled"), (running, "canceled")):
        response = call.http.post(f"/v1/predictions/{prediction['id']}/cancel")
        assert (response.status_code, response.json()["status"]) == (200, status)
    assert call.sandbox.books.cancels == 1
    assert call.http.post("/v1/predictions/nonesuch/cancel").status_code == 404


def test_a_models_usual_time_is_divided_by_the_speed_and_jittered(call: Caller) -> None:
    settings = call.sandbox.settings
    settings.latency_seconds = None
    settings.speed = 100
    settings.jitter = 0.5
    usual = catalog.load().models[BANANA].typical_seconds / 100
    totals = [call.ended(f"x {number}", BANANA)["metrics"]["total_time"] for number in range(12)]
    assert 0.5 * usual <= min(totals) < usual < max(totals)
    assert max(totals) < 1.5 * usual + 0.2


# The list


def test_the_list_is_newest_first_100_a_page_and_new_ones_move_nothing(call: Caller) -> None:
    ids = [call.create(f"x {number}")["id"] for number in range(205)]
    first = call.listed()
    assert [row["id"] for row in first["results"]] == ids[:104:-1]
    assert first["previous"] is None
    call.create("in between")
    second = call.http.get(first["next"]).json()
    assert [row["id"] for row in second["results"]] == ids[104:4:-1]
    third = call.http.get(second["next"]).json()
    assert [row["id"] for row in third["results"]] == ids[4::-1]
    assert third["next"] is None
    assert call.http.get(third["previous"]).json()["results"] == second["results"]


def test_the_list_is_bounded_by_times_of_creation(call: Caller) -> None:
    rows = [call.create(f"x {number}") for number in range(4)]
    after, before = rows[1]["created_at"], rows[3]["created_at"]
    assert [row["id"] for row in call.listed(created_after=after)["results"]] == [
        row["id"] for row in reversed(rows[1:])
    ]
    assert [row["id"] for row in call.listed(created_after=after, created_before=before)["results"]] == [
        rows[2]["id"],
        rows[1]["id"],
    ]
    assert call.listed(created_before="2020-01-01T00:00:00Z")["results"] == []
    assert call.http.get("/v1/predictions", params={"created_after": "yesterday"}).status_code == 422


# What is refused


@pytest.mark.parametrize("header", ["", "some-token", "Bearer", "Basic some-token"])
def test_a_request_without_a_token_is_refused(call: Caller, header: str) -> None:
    for method, path in (("GET", "/v1/predictions"), ("GET", "/v1/account"), ("POST", "/v1/predictions")):
        response = call.anybody.request(method, path, headers={"Authorization": header} if header else {})
        assert response.status_code == 401
        assert response.json() == {
            "title": "Unauthenticated",
            "detail": "You did not pass a valid authentication token",
            "status": 401,
        }
    assert call.sandbox.books.posts_by_status == {"401": 1}


def test_tokens_are_accepted_refused_and_belong_to_accounts(call: Caller) -> None:
    settings = call.sandbox.settings
    settings.refused_tokens = {"bad"}  # type: ignore[assignment]
    settings.accepted_tokens = {"good", "bad"}  # type: ignore[assignment]
    settings.other_accounts = {"acme": {"theirs"}}  # type: ignore[dict-item]

    def username(header: str) -> str | None:
        return call.anybody.get("/v1/account", headers={"Authorization": header}).json().get("username")

    assert username("Bearer good") == username("Token good") == "sandbox"
    assert username("Bearer theirs") == "acme"
    assert username("Bearer bad") is username("Bearer unheard-of") is None
    assert "good" not in call.anybody.get("/settings").text


def test_accounts_see_only_their_own(call: Caller) -> None:
    call.sandbox.settings.other_accounts = {"acme": {"theirs"}}  # type: ignore[dict-item]
    mine = call.create("x")
    theirs = {"Authorization": "Bearer theirs"}
    assert call.anybody.get("/v1/predictions", headers=theirs).json()["results"] == []
    assert call.anybody.get(f"/v1/predictions/{mine['id']}", headers=theirs).status_code == 404


@pytest.mark.parametrize(
    ("inputs", "field", "kind", "description"),
    [
        ({}, "input", "required", "prompt is required"),
        ({"prompt": 3}, "input.prompt", "invalid_type", "Invalid type. Expected: string, given: integer"),
        ({"prompt": "x", "num_outputs": 5}, "input.num_outputs", "number_lte", "Must be less than or equal to 4"),
        ({"prompt": "x", "num_outputs": 0}, "input.num_outputs", "number_gte", "Must be greater than or equal to 1"),
        (
            {"prompt": "x", "seed": "1"},
            "input.seed",
            "invalid_type",
            "Invalid type. Expected: integer, given: string",
        ),
        (
            {"prompt": "x", "go_fast": 1},
            "input.go_fast",
            "invalid_type",
            "Invalid type. Expected: boolean, given: integer",
        ),
        (
            {"prompt": "x", "megapixels": "2"},
            "input.megapixels",
            "enum",
            'input.megapixels must be one of the following: "1", "0.25"',
        ),
        ({"prompt": "x", "image": "/tmp/fox.png"}, "input.image", "format", "Does not match format 'uri'"),
    ],
)
def test_an_input_that_breaks_the_schema_is_refused_in_replicates_words(
    call: Caller, inputs: dict[str, Any], field: str, kind: str, description: str
) -> None:
    response = call.http.post(f"/v1/models/{FLUX}/predictions", json={"input": inputs})
    assert response.status_code == 422
    assert response.json() == {
        "title": "Input validation failed",
        "detail": f"- {field}: {description}\n",
        "status": 422,
        "invalid_fields": [{"type": kind, "field": field, "description": description}],
    }


def test_unknown_inputs_are_let_through_and_unknown_keys_are_not(call: Caller) -> None:
    assert call.create("x", mystery=1, disable_safety_checker=True)["input"]["mystery"] == 1
    body = {"input": {"prompt": "x"}, "metadata": {"job": 7}}
    refused = call.http.post(f"/v1/models/{FLUX}/predictions", json=body)
    assert refused.status_code == 422
    assert "Additional property metadata is not allowed" in refused.json()["detail"]
    for wrong in ([], {"input": "x"}, {}, {"input": None}):
        assert call.http.post(f"/v1/models/{FLUX}/predictions", json=wrong).status_code == 422
    assert call.http.post(f"/v1/models/{FLUX}/predictions", content=b"{").status_code == 400


def test_lists_of_images_and_limits_beside_a_reference_image_are_checked(call: Caller) -> None:
    url = "https://example.com/fox.png"
    assert call.post("x", BANANA, image_input=[url, url]).status_code == 201
    assert (
        call.post("x", BANANA, image_input=["fox.png"]).json()["invalid_fields"][0]["field"] == "input.image_input.0"
    )
    assert call.post("x", BANANA, image_input=url).status_code == 422
    assert call.post("x", KONTEXT, safety_tolerance=6).status_code == 201
    assert call.post("x", KONTEXT, safety_tolerance=6, input_image=url).status_code == 422


@pytest.mark.parametrize(
    "path", ["/v1/predictions/nonesuch", "/v1/models/nobody/nothing", "/v1/files/nonesuch", "/v1/none", "/"]
)
def test_what_is_not_there_is_a_404_in_json(call: Caller, path: str) -> None:
    response = call.http.get(path)
    assert (response.status_code, response.json()["status"]) == (404, 404)
    assert call.post("x", "nobody/nothing").status_code == 404


# The account's limits


def test_creates_past_the_window_are_throttled_until_it_has_slid_on(call: Caller) -> None:
    settings = call.sandbox.settings
    settings.creates_per_window, settings.window_seconds = 3, 0.5
    statuses = [call.post("x").status_code for _ in range(5)]
    assert statuses == [201, 201, 201, 429, 429]
    wait_for(lambda: call.post("x").status_code == 201)
    books = call.sandbox.books
    assert books.most_creates(0.5) == 3
    assert books.create_times[3] - books.create_times[0] >= 0.5
    assert books.posts_by_status["201"] == 4 and books.throttled == books.posts_by_status["429"] >= 2


def test_refused_creates_may_use_up_the_window_too(call: Caller) -> None:
    settings = call.sandbox.settings
    settings.creates_per_window, settings.window_seconds, settings.count_refused = 2, 0.3, True
    began = time.monotonic()
    statuses = []
    while time.monotonic() < began + 1.0:  # trying on all the time
        statuses.append(call.post("x").status_code)
    assert statuses.count(201) == 2
    wait_for(lambda: not time.sleep(0.31) and call.post("x").status_code == 201)


def test_an_account_with_little_credit_creates_one_at_a_time(call: Caller) -> None:
    settings = call.sandbox.settings
    settings.low_credit, settings.window_seconds = True, 1.2
    assert [call.post("x").status_code for _ in range(3)] == [201, 429, 429]
    wait_for(lambda: call.post("x").status_code == 201)
    times = call.sandbox.books.create_times
    assert 0.2 <= times[1] - times[0] < 0.6


def test_more_in_flight_than_allowed_is_throttled(call: Caller) -> None:
    settings = call.sandbox.settings
    settings.max_concurrent, settings.latency_seconds = 2, 30
    first = call.create("x")
    call.create("x")
    assert call.post("x").status_code == 429
    call.http.post(f"/v1/predictions/{first['id']}/cancel")
    assert call.post("x").status_code == 201
    assert call.sandbox.books.peak_in_flight == 2


def test_reads_have_a_limit_of_their_own(call: Caller) -> None:
    call.sandbox.settings.reads_per_minute = 3
    assert [call.http.get("/v1/account").status_code for _ in range(4)] == [200, 200, 200, 429]
    assert call.post("x").status_code == 201
    assert call.sandbox.books.reads_by_kind == {"account": 4}


@pytest.mark.parametrize(
    ("style", "header", "extra", "words"),
    [
        ("header", "60", {}, "Request was throttled."),
        ("body", None, {"retry_after": 60}, "Request was throttled."),
        ("available", None, {}, "Request was throttled. Expected available in 60 seconds."),
        ("resets", None, {}, "Request was throttled. Your rate limit resets in ~60s."),
        ("none", None, {}, "Request was throttled."),
    ],
)
def test_a_429_tells_the_wait_in_the_style_asked_for(
    call: Caller, style: Any, header: str | None, extra: dict[str, Any], words: str
) -> None:
    call.sandbox.settings.creates_per_window, call.sandbox.settings.retry_after = 0, style
    refused = call.post("x")
    assert refused.status_code == 429
    assert refused.headers.get("Retry-After") == header
    assert refused.json() == {"detail": words, "status": 429, **extra}


def test_no_credit_is_left_once_it_is_spent(call: Caller) -> None:
    call.sandbox.settings.credit_usd = 0.05  # two images of 0.025
    for prompt in ("a", "b"):
        call.ended(prompt)
    refused = call.post("c")
    assert (refused.status_code, refused.json()["title"]) == (402, "Insufficient credit")
    assert refused.json()["detail"].startswith("You have insufficient credit to run this model.")


# Files


def test_a_file_past_the_limit_is_refused_in_words_whatever_its_size(call: Caller) -> None:
    call.sandbox.settings.max_upload_bytes = 1_000_000
    for size, status in ((1_000_000, 201), (1_000_001, 413), (20_000_000, 413)):
        response = call.http.post("/v1/files", files={"content": ("a.bin", bytes(size))})
        assert response.status_code == status
    assert response.json()["detail"] == "Files must be less than 1MB in size"
    assert len(call.http.get("/v1/files").json()["results"]) == 1


def test_a_file_keeps_its_name_type_and_metadata(call: Caller) -> None:
    upload = {
        "content": ("fox.png", b"png", "image/png"),
        "metadata": (None, '{"job": 7}', "application/json"),
    }
    file = call.http.post("/v1/files", files=upload).json()
    assert call.http.get(f"/v1/files/{file['id']}").json() == file
    assert (file["name"], file["content_type"], file["metadata"]) == ("fox.png", "image/png", {"job": 7})
    assert file["urls"]["get"] == f"{call.sandbox.url}/v1/files/{file['id']}"
    assert call.http.post("/v1/files", files={"other": b"x"}).status_code == 422


def test_a_prediction_with_a_file_that_is_gone_fails(call: Caller) -> None:
    call.sandbox.settings.keep_files_seconds = 0.0
    url = call.http.post("/v1/files", files={"content": b"png"}).json()["urls"]["get"]
    ended = call.ended("x", BANANA, image_input=[url])
    assert ended["status"] == "failed" and url in ended["error"]


# Outputs


@pytest.mark.parametrize(
    ("model", "inputs", "kind", "size"),
    [
        (FLUX, {"aspect_ratio": "16:9"}, "WEBP", (768, 432)),
        (FLUX, {"output_format": "png"}, "PNG", (768, 768)),
        (KONTEXT, {"aspect_ratio": "9:16", "output_format": "jpg"}, "JPEG", (432, 768)),
    ],
)
def test_outputs_are_images_of_the_format_and_shape_asked_for(
    call: Caller, model: str, inputs: dict[str, Any], kind: str, size: tuple[int, int]
) -> None:
    output = call.ended("a red fox in fresh snow", model, **inputs)["output"]
    url = output[0] if isinstance(output, list) else output
    reply = call.anybody.get(url)
    picture = image(reply.content)
    assert (picture.format, picture.size) == (kind, size)
    assert reply.headers["content-type"] == f"image/{kind.lower()}"
    assert len(picture.resize((16, 16)).convert("RGB").getcolors() or []) > 50  # no flat surface
    assert call.anybody.get(url).content == reply.content


def test_pictures_differ_by_prompt_seed_and_number(call: Caller) -> None:
    call.sandbox.settings.long_edge_pixels = 64
    outputs = call.ended("a", num_outputs=2, seed=1)["output"] + call.ended("a", seed=2)["output"]
    outputs += call.ended("b", seed=1)["output"]
    assert len({call.anybody.get(url).content for url in outputs}) == 4


def test_a_video_is_an_mp4_of_its_length_and_shape(call: Caller) -> None:
    url = call.ended("waves", VEO, duration=8, aspect_ratio="9:16")["output"]
    content = call.anybody.get(url).content
    boxes, place = {}, 0
    while place < len(content):
        length = int.from_bytes(content[place : place + 4])
        boxes[content[place + 4 : place + 8]] = content[place + 8 : place + length]
        place += length
    assert list(boxes) == [b"ftyp", b"moov", b"mdat"] and place == len(content)
    timescale, duration = (int.from_bytes(boxes[b"moov"][at : at + 4]) for at in (20, 24))
    assert duration / timescale == pytest.approx(8, abs=0.01)
    entry = boxes[b"moov"].index(b"avc1") + 4 + 24
    assert [int.from_bytes(boxes[b"moov"][at : at + 2]) for at in (entry, entry + 2)] == [144, 256]
    first_unit = int.from_bytes(boxes[b"mdat"][:4])
    assert boxes[b"mdat"][4] == 0x65 and first_unit < len(boxes[b"mdat"])  # an IDR frame


def test_an_output_needs_no_token_and_the_books_tell_who_sent_one(call: Caller) -> None:
    ended = call.ended("x")
    assert call.anybody.get(ended["output"][0]).status_code == 200
    assert call.sandbox.books.outputs_with_token == []
    assert call.http.get(ended["output"][0]).status_code == 200
    assert call.sandbox.books.outputs_with_token == [ended["id"]]
    assert call.sandbox.books.outputs_served == {ended["id"]: 2}
    assert "some-token" not in call.anybody.get("/books").text


def test_a_download_resumes_from_a_byte(call: Caller) -> None:
    url = call.ended("x")["output"][0]
    whole = call.anybody.get(url).content
    part = call.anybody.get(url, headers={"Range": "bytes=100-"})
    assert (part.status_code, part.content) == (206, whole[100:])
    assert part.headers["content-range"] == f"bytes 100-{len(whole) - 1}/{len(whole)}"
    assert call.anybody.get(url, headers={"Range": "bytes=5-9"}).content == whole[5:10]
    assert call.anybody.get(url, headers={"Range": f"bytes={len(whole)}-"}).status_code == 416


def test_an_hour_after_its_end_a_prediction_is_erased(call: Caller) -> None:
    ended = call.ended("x")
    call.sandbox.settings.erase_after_seconds = 0
    erased = call.get(ended)
    assert (erased["input"], erased["output"], erased["data_removed"]) == (None, None, True)
    assert erased["status"] == "succeeded"
    assert call.listed()["results"][0]["data_removed"] is True
    assert call.anybody.get(ended["output"][0]).status_code == 404
