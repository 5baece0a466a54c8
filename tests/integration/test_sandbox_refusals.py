"""The stand-in refuses what Replicate refuses, in the same words, and holds the account's limits."""

from __future__ import annotations

from typing import Any

import pytest

from replibatch.sandbox import SandboxSettings
from replibatch.sandbox.accounts import Account
from replibatch.sandbox.replies import Refusal
from tests.support.catalogue import FLUX, KONTEXT, NANO
from tests.support.sandbox_caller import Caller, wait_for

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
    assert call.post("x", NANO, image_input=[url, url]).status_code == 201
    assert call.post("x", NANO, image_input=["fox.png"]).json()["invalid_fields"][0]["field"] == "input.image_input.0"
    assert call.post("x", NANO, image_input=url).status_code == 422
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
    settings.creates_per_window, settings.window_seconds = 3, 2.0
    statuses = [call.post("x").status_code for _ in range(5)]
    assert statuses == [201, 201, 201, 429, 429]
    wait_for(lambda: call.post("x").status_code == 201, 15)
    books = call.sandbox.books
    assert books.most_creates(2.0) == 3
    assert books.create_times[3] - books.create_times[0] >= 2.0
    assert books.posts_by_status["201"] == 4 and books.throttled == books.posts_by_status["429"] >= 2


@pytest.mark.parametrize(
    ("settings", "tries", "admitted"),
    [
        ({"creates_per_window": 2}, [0, 1, 2, 59.9, 60, 60.5, 61, 61.5], [0, 1, 60, 61]),
        ({"creates_per_window": 2, "count_refused": True}, [0, 1, 2, 59.9, 60, 60.5, 61, 121], [0, 1, 121]),
        ({"low_credit": True}, [0, 0.1, 9.9, 10, 19.9, 25, 30, 35], [0, 10, 25, 35]),
        ({"low_credit": True, "count_refused": True}, [0, 9, 12, 18, 28], [0, 28]),
        ({"creates_per_window": 0}, [0, 100], []),
    ],
)
def test_a_create_is_admitted_when_its_window_has_room(
    settings: dict[str, Any], tries: list[float], admitted: list[float]
) -> None:
    account = Account("x", SandboxSettings(**settings))

    def is_admitted(at: float) -> bool:
        try:
            account.admit_create(at)
        except Refusal as refusal:
            assert refusal.status_code == 429
            return False
        return True

    assert [at for at in tries if is_admitted(at)] == admitted


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
