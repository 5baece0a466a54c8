"""Models registered at the desk, community models, deployments, forms of output, metrics and bills, webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import wave
import zipfile
from typing import Any

import httpx
import pytest
from PIL import Image

from replibatch.sandbox.failures import TEXTS
from replibatch.sandbox.forms import FORMS
from replibatch.sandbox.media import EXTENSIONS
from tests.support.catalogue import FLUX, KONTEXT, NANO
from tests.support.odd_server import OddServer, answer
from tests.support.sandbox_caller import Caller, wait_for

UPSCALER = "acme/upscaler"


def register(call: Caller, name: str = UPSCALER, **spec: Any) -> None:
    answer = call.anybody.post("/models", json={name: spec})
    assert answer.status_code == 200, answer.text


def create(call: Caller, inputs: dict[str, Any], name: str = UPSCALER) -> httpx.Response:
    return call.http.post(f"/v1/models/{name}/predictions", json={"input": inputs})


# Registered models


def test_a_registered_model_has_the_schema_it_was_given(call: Caller) -> None:
    register(
        call,
        inputs={
            "image": {"type": "string", "format": "uri"},
            "scale": {"allOf": [{"$ref": "#/components/schemas/scale"}], "default": 2},
            "points": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "integer"}}}},
            "seed": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "api_key": {"type": "string", "format": "password", "x-cog-secret": True},
        },
        required=["image"],
        schemas={"scale": {"type": "integer", "enum": [2, 4]}},
    )
    view = call.http.get(f"/v1/models/{UPSCALER}").json()
    assert view["is_official"] and "prompt" not in json.dumps(view)
    for wrong in (
        {},
        {"image": "fox.png"},
        {"image": "https://x/a", "scale": 3},
        {"image": "https://x/a", "seed": []},
    ):
        assert create(call, wrong).status_code == 422, wrong
    assert create(call, {"image": "https://x/a", "points": [{"x": "1"}]}).json()["invalid_fields"][0]["field"] == (
        "input.points.0.x"
    )
    created = create(call, {"image": "https://x/a", "scale": 4, "api_key": "secret", "points": [{"x": 1}]}).json()
    assert created["input"] == {"image": "https://x/a", "scale": 4, "api_key": "[REDACTED]", "points": [{"x": 1}]}
    assert "secret" not in call.http.get("/v1/predictions").text


def test_a_community_model_runs_by_its_version_alone(call: Caller) -> None:
    register(call, official=False, version="cd" * 32)
    assert call.http.get(f"/v1/models/{UPSCALER}").json()["is_official"] is False
    assert create(call, {}).json() == {"detail": "The requested resource could not be found.", "status": 404}
    statuses = {}
    for version in (UPSCALER, "cd" * 32, f"{UPSCALER}:{'cd' * 32}"):
        answer = call.http.post("/v1/predictions", json={"version": version, "input": {}})
        statuses[version] = answer.status_code
    assert list(statuses.values()) == [422, 201, 201]
    assert answer.json()["version"] == "cd" * 32


def test_a_model_is_gone_and_comes_back(call: Caller) -> None:
    register(call, NANO, missing=True)
    assert call.post("x", NANO).status_code == call.http.get(f"/v1/models/{NANO}").status_code == 404
    call.sandbox.settings.models = {}
    assert call.post("x", NANO).status_code == 201


def test_a_model_tells_another_name(call: Caller) -> None:
    register(call, alias="replicate-internal/upscaler")
    assert create(call, {}).json()["model"] == "replicate-internal/upscaler"
    wait_for(lambda: call.sandbox.books.in_flight == 0)
    assert call.sandbox.books.bill(UPSCALER, {}).prediction_ids


def test_what_is_registered_is_checked(call: Caller) -> None:
    for wrong in ({"upscaler": {}}, {UPSCALER: {"price": {"usd": -1}}}, {UPSCALER: {"colour": 1}}, []):
        assert call.anybody.post("/models", json=wrong).status_code == 422
    assert call.anybody.get("/models").json() == {}


def test_a_deployment_runs_its_model(call: Caller) -> None:
    call.sandbox.settings.deployments = {"acme/prod": FLUX}
    assert call.http.get("/v1/deployments/acme/prod").json()["current_release"]["model"] == FLUX
    body = {"input": {"prompt": "x"}}
    created = call.http.post("/v1/deployments/acme/prod/predictions", json=body).json()
    assert (created["model"], created["deployment"]) == (FLUX, "acme/prod")
    assert call.http.post("/v1/deployments/acme/none/predictions", json=body).status_code == 404


# Bills


@pytest.mark.parametrize(
    ("price", "spec", "inputs", "usd"),
    [
        ({"usd": 0.5}, {}, {}, 0.5),
        ({"usd": 0.5, "per": "image"}, {"gives": "output-many"}, {}, 1.5),
        ({"usd": 0.1, "per": "second"}, {"gives": "output-mp4"}, {"duration": 8}, 0.8),
        ({"usd": 0.1, "per": "megapixel"}, {"metrics": {"image_output_megapixels": 2.5}}, {}, 0.25),
        ({"usd": 0.01, "per": "token"}, {"metrics": {"input_token_count": 3, "output_token_count": 9}}, {}, 0.12),
    ],
)
def test_a_success_is_billed_by_its_models_price_and_its_metrics(
    call: Caller, price: dict[str, Any], spec: dict[str, Any], inputs: dict[str, Any], usd: float
) -> None:
    register(call, price=price, **spec)
    ended = call.until(create(call, inputs).json(), "succeeded")
    assert call.sandbox.books.bill(UPSCALER, inputs).cost_usd == pytest.approx(usd)
    assert ended["metrics"].items() >= spec.get("metrics", {}).items()


def test_time_is_billed_by_what_the_metrics_say_and_failures_of_private_models_too(call: Caller) -> None:
    register(call, private=True, price={"usd": 10.0, "per": "gpu_second"})
    ended = call.until(create(call, {"prompt": "[[failed]]"}).json(), "failed")
    billed = call.sandbox.books.bill(UPSCALER, {"prompt": "[[failed]]"}).cost_usd
    assert billed == pytest.approx(10 * ended["metrics"]["predict_time"])
    call.sandbox.settings.latency_seconds = 30
    running = create(call, {"prompt": "x"}).json()
    call.until(running, "starting", "processing")
    canceled = call.http.post(f"/v1/predictions/{running['id']}/cancel").json()
    billed = call.sandbox.books.bill(UPSCALER, {"prompt": "x"}).cost_usd
    assert billed == pytest.approx(10 * canceled["metrics"]["predict_time"])


# Ends and outputs


def test_every_text_of_a_failure_can_be_ordered(call: Caller) -> None:
    for kind, text in TEXTS.items():
        ended = call.ended(f"[[{kind}]]")
        assert (ended["status"], ended["error"]) == ("failed", text)


def test_every_form_of_an_output_can_be_ordered_and_its_files_fetched(call: Caller) -> None:
    call.sandbox.settings.long_edge_pixels = 32
    for kind in FORMS:
        ended = call.ended(f"[[{kind}]]", KONTEXT)
        assert ended["status"] == "succeeded", kind
        for url in addresses(ended["output"]):
            if url.startswith(call.sandbox.url):
                assert call.anybody.get(url).status_code == 200, (kind, url)


def addresses(output: Any) -> list[str]:
    if isinstance(output, str):
        return [output] if "://" in output else []
    parts = output.values() if isinstance(output, dict) else output if isinstance(output, list) else []
    return [url for part in parts for url in addresses(part)]


def test_forms_keep_places_and_labels(call: Caller) -> None:
    gaps = call.ended("[[output-gaps]]")["output"]
    assert [url is None for url in gaps] == [False, True, True, False]
    assert [mask["label"] for mask in call.ended("[[output-masks]]")["output"]] == ["fox", "tree"]
    assert call.ended("[[output-true]]")["output"] is True
    host = call.sandbox.url.removeprefix("http:")
    assert call.ended("[[output-protocol-relative]]", KONTEXT)["output"].startswith(f"{host}/output/")
    assert call.ended("[[output-relative]]", KONTEXT)["output"].startswith("/output/")


def test_files_are_of_the_kind_their_names_say(call: Caller) -> None:
    found = {}
    for extension in EXTENSIONS:
        reply = call.anybody.get(call.ended(f"[[output-{extension}]]")["output"])
        found[extension] = reply.content
        assert reply.headers["content-type"].partition("/")[0] in (
            "image",
            "audio",
            "video",
            "model",
            "application",
            "text",
        )
    heads = {
        "flac": b"fLaC",
        "glb": b"glTF",
        "webm": b"\x1aE\xdf\xa3",
        "gif": b"GIF89a",
        "svg": b"<svg ",
        "zip": b"PK",
    }
    assert {extension: found[extension].startswith(head) for extension, head in heads.items()} == dict.fromkeys(
        heads, True
    )
    for extension, kind in (("gif", "GIF"), ("png", "PNG"), ("webp", "WEBP"), ("jpg", "JPEG")):
        assert Image.open(io.BytesIO(found[extension])).format == kind
    with wave.open(io.BytesIO(found["wav"])) as sound:
        assert sound.getnframes() == 16_000
    assert zipfile.ZipFile(io.BytesIO(found["zip"])).testzip() is None
    length, json_length = (int.from_bytes(found["glb"][at : at + 4], "little") for at in (8, 12))
    assert (
        length == len(found["glb"]) and json.loads(found["glb"][20 : 20 + json_length])["asset"]["version"] == "2.0"
    )


@pytest.mark.parametrize(
    ("kind", "content_type", "begins"),
    [
        ("download-200-html", "text/html", b"<html>"),
        ("download-200-api", "application/problem+json", b"{"),
        ("download-200-xml", "application/xml", b"<?xml"),
        ("download-403-cdn", "text/html; charset=UTF-8", b"<!DOCTYPE"),
    ],
)
def test_an_address_serves_something_else(call: Caller, kind: str, content_type: str, begins: bytes) -> None:
    reply = call.anybody.get(call.ended(f"[[{kind}]]", KONTEXT)["output"])
    assert reply.headers["content-type"] == content_type and reply.content.startswith(begins)


def test_half_a_picture_counts_as_whole(call: Caller) -> None:
    url = call.ended("[[half-output:1]]", KONTEXT)["output"]
    half, whole = call.anybody.get(url).content, call.anybody.get(url).content
    assert whole.startswith(half) and len(half) == len(whole) // 2
    assert call.anybody.get(call.ended("[[empty-output]]", KONTEXT)["output"]).content == b""


# Webhooks


def test_webhooks_are_delivered_and_signed_as_replicate_signs_them(call: Caller) -> None:
    with OddServer(answer(200, "")) as receiver:
        body = {"input": {"prompt": "x"}, "webhook": f"{receiver.url}/done", "webhook_events_filter": ["completed"]}
        created = call.http.post(f"/v1/models/{FLUX}/predictions", json=body).json()
        wait_for(lambda: len(receiver.requests) == 1)
    head, _, content = receiver.requests[0].partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().lower().splitlines()[1:])
    assert json.loads(content) == call.get(created) and json.loads(content)["status"] == "succeeded"
    secret = call.http.get("/v1/webhooks/default/secret").json()["key"]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + content
    digest = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}".lower()


def test_a_completed_webhook_is_tried_again_and_one_that_is_missed_is_not(call: Caller) -> None:
    call.sandbox.settings.webhook_pauses_seconds = (0.01, 0.01)
    with OddServer(answer(500, ""), answer(200, "")) as receiver:
        for prompt in ("[[webhook-missed]]", "x"):
            body = {"input": {"prompt": prompt}, "webhook": receiver.url, "webhook_events_filter": ["completed"]}
            call.http.post(f"/v1/models/{FLUX}/predictions", json=body)
        wait_for(lambda: len(receiver.requests) == 2)
    assert all(b'"x"' in request for request in receiver.requests)
    body = {"input": {"prompt": "x"}, "webhook": "ftp://x", "webhook_events_filter": ["finished"]}
    assert len(call.http.post(f"/v1/models/{FLUX}/predictions", json=body).json()["invalid_fields"]) == 2


def test_webhooks_go_to_this_machine_alone(call: Caller) -> None:
    body = {"input": {"prompt": "x"}, "webhook": "https://example.com/done"}
    created = call.http.post(f"/v1/models/{FLUX}/predictions", json=body).json()
    assert call.until(created, "succeeded")["status"] == "succeeded"
