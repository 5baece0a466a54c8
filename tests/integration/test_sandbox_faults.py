"""Faults to order: by a marker in a prompt, and by setting."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from PIL import Image

from replibatch.sandbox import Sandbox, SandboxSettings
from tests.support.catalogue import FLUX, KONTEXT, NANO, QWEN
from tests.support.sandbox_caller import Caller

# Ordered by a marker in the prompt


@pytest.mark.parametrize(
    ("prompt", "status", "error"),
    [
        ("[[failed]]", "failed", "Prediction failed."),
        ("[[sensitive]]", "failed", "flagged as sensitive. Please try again with different inputs. (E005)"),
        ("[[interrupted]]", "failed", "Prediction interrupted; please retry (code: PA)"),
        ("[[canceled]]", "canceled", None),
        ("[[aborted]]", "aborted", None),
        ("[[unheard-of]]", "succeeded", None),
        ("[[failed", "succeeded", None),
    ],
)
def test_a_marker_decides_how_a_prediction_ends(call: Caller, prompt: str, status: str, error: str | None) -> None:
    ended = call.ended(f"a fox {prompt} in snow")
    assert ended["status"] == status
    assert error is None if ended["error"] is None else error in ended["error"]
    assert (ended["output"] is None) is (status != "succeeded")


@pytest.mark.parametrize(
    ("prompt", "output"),
    [
        ("[[null-output]]", lambda output: output is None),
        ("[[empty-list]]", lambda output: output == []),
        ("[[text]]", lambda output: output == "A text about: [[text]]"),
        ("[[many:3]]", lambda output: len(set(output)) == 3),
        ("[[many]]", lambda output: len(set(output)) == 3),
    ],
)
def test_a_marker_decides_what_a_success_gives(call: Caller, prompt: str, output: Callable[[Any], bool]) -> None:
    ended = call.ended(prompt, KONTEXT)
    assert ended["status"] == "succeeded"
    assert output(ended["output"])


def test_a_data_uri_holds_an_image(call: Caller) -> None:
    head, _, encoded = call.ended("[[data-uri]]")["output"].partition(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
        picture.load()
        assert picture.format == "PNG"


def test_a_number_limits_a_marker_to_the_first_times_of_that_prompt_and_model(call: Caller) -> None:
    prompt = "a fox [[interrupted:2]]"
    assert [call.ended(prompt)["status"] for _ in range(4)] == ["failed", "failed", "succeeded", "succeeded"]
    assert call.ended(prompt, QWEN)["status"] == "failed"
    assert call.ended("an owl [[interrupted:2]]")["status"] == "failed"


def test_names_limit_a_marker_to_those_models(call: Caller) -> None:
    prompt = f"a fox [[failed@{KONTEXT},{QWEN}]] [[429:1@{NANO}]]"
    assert [call.ended(prompt, model)["status"] for model in (KONTEXT, QWEN, FLUX)] == [
        "failed",
        "failed",
        "succeeded",
    ]
    assert [call.post(prompt, NANO).status_code for _ in range(2)] == [429, 201]


def test_several_markers_strike_one_after_the_other(call: Caller) -> None:
    prompt = "[[429:1]] [[500-before:1]] [[failed:1]] [[sensitive:1]] [[many:2]]"
    assert [call.post(prompt).status_code for _ in range(2)] == [429, 500]
    endings = [call.ended(prompt) for _ in range(3)]
    assert [ended["status"] for ended in endings] == ["failed", "failed", "succeeded"]
    assert "E005" in endings[1]["error"]
    assert len(endings[2]["output"]) == 2


@pytest.mark.parametrize(
    ("kind", "status"), [("429", 429), ("500-before", 500), ("502-before", 502), ("503-before", 503)]
)
def test_a_refusal_before_the_create_creates_nothing(call: Caller, kind: str, status: int) -> None:
    assert call.post(f"[[{kind}]]").status_code == status
    assert call.listed()["results"] == []
    assert call.sandbox.books.posts_by_status == {str(status): 1}


@pytest.mark.parametrize(("kind", "status"), [("500-after", 500), ("502-after", 502), ("504-after", 504)])
def test_an_error_after_the_create_hides_a_prediction_that_runs(call: Caller, kind: str, status: int) -> None:
    assert call.post(f"[[{kind}:1]]").status_code == status
    (row,) = call.listed()["results"]
    assert call.until(row, "succeeded")["input"] == {"prompt": f"[[{kind}:1]]"}
    assert call.post(f"[[{kind}:1]]").status_code == 201


@pytest.mark.parametrize(("kind", "created"), [("drop-before", 0), ("drop-after", 1)])
def test_a_dropped_connection_tells_nothing_of_what_was_created(call: Caller, kind: str, created: int) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="disconnected without sending a response"):
        call.post(f"[[{kind}]]")
    assert len(call.listed()["results"]) == created
    assert call.sandbox.books.posts_by_status == {"dropped": 1}
    assert len(call.sandbox.books.create_times) == created


def test_a_reply_that_never_comes_belongs_to_a_prediction_that_runs(call: Caller) -> None:
    with pytest.raises(httpx.ReadTimeout):
        call.http.post(f"/v1/models/{FLUX}/predictions", json={"input": {"prompt": "[[hang-reply]]"}}, timeout=0.2)
    call.until(call.listed()["results"][0], "succeeded")
    assert call.sandbox.books.posts_by_status == {"no reply": 1}


def test_a_prediction_that_hangs_runs_until_it_is_canceled(call: Caller) -> None:
    hanging = call.create("[[hang]]")
    call.until(hanging, "processing")
    call.ended("another")
    assert call.get(hanging)["status"] == "processing"
    assert call.http.post(f"/v1/predictions/{hanging['id']}/cancel").json()["status"] == "canceled"


def test_a_truncated_output_ends_before_its_length_and_is_whole_the_next_time(call: Caller) -> None:
    ended = call.ended("[[truncated-output:1]]")
    url = ended["output"][0]
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        call.anybody.get(url)
    content = call.anybody.get(url).content
    assert Image.open(io.BytesIO(content)).format == "WEBP"
    books = call.sandbox.books
    assert (books.outputs_cut_short, books.outputs_served) == ({ended["id"]: 1}, {ended["id"]: 1})


def test_an_expired_output_is_gone_and_its_prediction_still_there(call: Caller) -> None:
    ended = call.ended("[[expired-output]]")
    assert call.anybody.get(ended["output"][0]).status_code == 404
    assert call.get(ended)["output"] == ended["output"]


def test_a_slow_output_arrives_whole_in_the_time_set(call: Caller) -> None:
    call.sandbox.settings.slow_output_seconds = 2.0
    slow, quick = call.ended("[[slow-output]]")["output"][0], call.ended("quick")["output"][0]
    began = time.monotonic()
    response = call.anybody.get(slow)
    assert time.monotonic() - began >= 1.9
    assert len(response.content) == int(response.headers["content-length"])
    assert call.anybody.get(quick).elapsed.total_seconds() < 1.9


# By setting


def test_rates_strike_that_often_and_the_same_way_for_one_seed() -> None:
    runs = []
    for seed in (1, 1, 2):
        settings = SandboxSettings(latency_seconds=0, fault_rates={"500-before": 0.3}, seed=seed)
        with Sandbox(settings) as sandbox, Caller(sandbox) as other:
            runs.append([other.post(f"x {number}").status_code for number in range(100)])
    assert 15 <= runs[0].count(500) <= 45
    assert runs[0] == runs[1] != runs[2]


def test_reads_fail_at_their_rate_and_creates_do_not(call: Caller) -> None:
    created = call.create("x")
    call.sandbox.settings.fault_rates = {"failed-reads": 1.0}
    assert call.http.get(f"/v1/predictions/{created['id']}").status_code == 503
    assert call.http.get("/v1/predictions").status_code == 503
    assert call.post("x").status_code == 201
    call.sandbox.settings.fault_rates = {}
    assert call.get(created)["id"] == created["id"]


def test_a_broken_model_always_fails_and_others_do_not(call: Caller) -> None:
    call.sandbox.settings.broken_models = frozenset({NANO})
    assert [call.ended("x", model)["status"] for model in (NANO, FLUX, NANO)] == ["failed", "succeeded", "failed"]
