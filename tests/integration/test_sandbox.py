"""The stand-in for Replicate, over real HTTP: predictions from their create to their end, and the list of them."""

from __future__ import annotations

import io
import time
from datetime import datetime

import pytest
from replicate.client import Client
from replicate.exceptions import ReplicateError

from replibatch import catalog
from replibatch.sandbox import Sandbox, SandboxSettings
from tests.support.catalogue import FLUX, KONTEXT, NANO, QWEN
from tests.support.sandbox_caller import Caller

# The life of a prediction


def test_a_prediction_starts_runs_and_succeeds(call: Caller) -> None:
    call.sandbox.settings.latency_seconds = 0.3
    call.sandbox.settings.starting_share = 0.5
    created = call.create("a red fox", aspect_ratio="16:9")
    assert created["status"] == "starting"
    assert not {"output", "started_at", "completed_at", "source", "metrics"} & created.keys()
    assert not {"output", "completed_at", "metrics"} & call.until(created, "processing").keys()
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
    output = client.run(NANO, input={"prompt": "a boat"})
    assert output.url.startswith("data:image/jpeg;base64,") and output.read().startswith(b"\xff\xd8")
    assert client.accounts.current().username == "sandbox"
    assert [row.model for row in client.predictions.list().results] == [NANO]
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
    with Sandbox(SandboxSettings(latency_seconds=0), catalog=own) as sandbox, Caller(sandbox) as other:
        assert other.post("x", "me/mine").status_code == 404
        body = {"version": spec["name"], "input": {"prompt": "rain"}}
        created = other.http.post("/v1/predictions", json=body, headers={"Prefer": "wait"}).json()
        assert (created["model"], created["version"]) == ("me/mine", "ab" * 32)
        assert created["output"] == "A text about: rain"


def test_prefer_holds_the_reply_until_the_end_or_as_long_as_asked(call: Caller) -> None:
    done = call.post("x", headers={"Prefer": "wait"})
    assert (done.status_code, done.json()["status"], done.headers["preference-applied"]) == (
        201,
        "processing",
        "wait",
    )
    assert done.json()["output"][0].startswith("data:image/webp;base64,") and "completed_at" not in done.json()
    call.sandbox.settings.wait_status = "succeeded"
    done = call.post("x", headers={"Prefer": "wait=5"})
    assert (done.status_code, done.json()["status"]) == (201, "succeeded")
    assert done.json()["output"][0].startswith(call.sandbox.url)
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
    settings.speed = 25  # so that what a busy machine adds is little beside it
    settings.jitter = 0.5
    usual = catalog.load().models[NANO].typical_seconds / 25
    totals = [call.ended(f"x {number}", NANO)["metrics"]["total_time"] for number in range(12)]
    assert 0.5 * usual <= min(totals) < usual < max(totals)
    assert max(totals) < 1.5 * usual + 2.0


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
