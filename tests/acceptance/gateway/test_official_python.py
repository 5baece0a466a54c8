"""Replicate's own Python client, unchanged, in front of the gateway."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from PIL import Image
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError
from replicate.webhook import InvalidSecretKeyError, Webhooks, WebhookSigningSecret

from tests.acceptance.gateway.conftest import VERSION, House
from tests.support.catalogue import FLUX, KONTEXT, NANO, QWEN
from tests.support.receiver import receiving
from tests.support.waiting import until

KONTEXT_INPUT = "input_image"


@pytest.fixture
def replicate(house: House) -> Iterator[Client]:
    client = Client(api_token=house.key, base_url=house.gateway.url)
    yield client
    client._client.close()


def image_at(url: str) -> Image.Image:
    answer = httpx.get(url, trust_env=False)
    answer.raise_for_status()
    return Image.open(io.BytesIO(answer.content))


def test_run_returns_the_output_as_it_does_of_replicate(house: House, replicate: Client) -> None:
    output = replicate.run(QWEN, input={"prompt": "a quiet harbour"})
    urls = [str(each) for each in (output if isinstance(output, list) else [output])]
    assert all(url.startswith(house.gateway.url) for url in urls)
    assert image_at(urls[0]).size[0] <= 64


def test_async_run_too(replicate: Client, house: House) -> None:
    async def run() -> object:
        try:
            return await replicate.async_run(QWEN, input={"prompt": "a quiet harbour, again"})
        finally:
            await replicate._async_client.aclose()

    output = asyncio.run(run())
    first = output[0] if isinstance(output, list) else output
    assert str(first).startswith(house.gateway.url)


def test_a_prediction_is_created_got_waited_for_and_listed(replicate: Client) -> None:
    prediction = replicate.predictions.create(model=NANO, input={"prompt": "a fox"})
    assert prediction.status == "starting" and prediction.model == NANO
    prediction.wait()
    assert prediction.status == "succeeded" and prediction.output and prediction.error is None
    assert prediction.metrics and prediction.metrics["predict_time"] > 0
    assert "succeeded as prediction" in (prediction.logs or "")
    assert replicate.predictions.get(prediction.id).output == prediction.output
    page = replicate.predictions.list()
    assert page.results[0].id == prediction.id and page.results[0].input == {"prompt": "a fox"}


def test_one_that_fails_says_why(replicate: Client, house: House) -> None:
    with pytest.raises(ModelError) as caught:
        replicate.run("google/veo-3-fast", input={"prompt": "a fox [[sensitive]]"})
    assert "sensitive" in str(caught.value.prediction.error)
    assert caught.value.prediction.output is None


def test_it_is_canceled(replicate: Client, house: House) -> None:
    house.sandbox.settings.latency_seconds = 30.0
    try:
        prediction = replicate.predictions.create(model=FLUX, input={"prompt": "a slow fox"})
        prediction.cancel()
        prediction.wait()
    finally:
        house.sandbox.settings.latency_seconds = 0.1
    assert prediction.status == "canceled" and prediction.output is None


def test_a_file_goes_along(replicate: Client, tmp_path: Path, house: House) -> None:
    picture = tmp_path / "fox.png"
    Image.new("RGB", (8, 8), "red").save(picture)
    uploaded = replicate.files.create(picture, metadata={"of": "a test"})
    assert uploaded.size == picture.stat().st_size and uploaded.metadata == {"of": "a test"}
    assert uploaded.id in [each.id for each in replicate.files.list()]
    assert replicate.files.get(uploaded.id).checksums == uploaded.checksums
    with picture.open("rb") as file:  # the client uploads it itself
        output = replicate.run(KONTEXT, input={"prompt": "a blue fox", KONTEXT_INPUT: file})
    again = replicate.run(KONTEXT, input={"prompt": "a green fox", KONTEXT_INPUT: str(output)})
    assert image_at(str(again))
    assert replicate.files.delete(uploaded.id)
    with pytest.raises(ReplicateError, match="404"):
        replicate.files.get(uploaded.id)


def test_models_and_versions(replicate: Client) -> None:
    model = replicate.models.get(QWEN)
    assert model.latest_version and "prompt" in str(model.latest_version.openapi_schema)
    assert replicate.models.get(QWEN).versions.get(model.latest_version.id).id == model.latest_version.id
    assert QWEN in [f"{each.owner}/{each.name}" for each in replicate.models.list().results]
    by_version = replicate.predictions.create(version=model.latest_version.id, input={"prompt": "by version"})
    by_version.wait()
    assert by_version.status == "succeeded"


def test_a_wrong_input_is_refused_before_anything_is_made(replicate: Client) -> None:
    with pytest.raises(ReplicateError, match="422") as caught:
        replicate.predictions.create(model=QWEN, input={"prompt": "a fox", "aspect_ratio": "wide"})
    assert "aspect_ratio" in str(caught.value)
    with pytest.raises(ReplicateError, match="404"):
        replicate.predictions.create(model="nobody/nothing", input={"prompt": "a fox"})


def test_webhooks_are_validated_with_the_secret_that_it_fetches(replicate: Client) -> None:
    secret = replicate.webhooks.default.secret()
    with receiving() as receiver:
        replicate.predictions.create(
            model=QWEN, input={"prompt": "a called fox"}, webhook=receiver.url, webhook_events_filter=["completed"]
        )
        until(lambda: receiver.taken, what="it is called")
    headers, body = receiver.taken[0]
    Webhooks.validate(headers=httpx.Headers(headers), body=body.decode(), secret=secret)
    with pytest.raises(InvalidSecretKeyError):
        Webhooks.validate(headers=httpx.Headers(headers), body=body.decode(), secret=WebhookSigningSecret(key="none"))
    assert json.loads(body)["status"] == "succeeded"


def test_a_deployment(replicate: Client) -> None:
    prediction = replicate.deployments.predictions.create("ours/harbour", input={"prompt": "a harbour"})
    prediction.wait()
    assert prediction.status == "succeeded" and prediction.model == "ours/harbour"
    assert replicate.deployments.get("ours/harbour").current_release.number == 1


def test_a_community_model_by_its_version_gives_text_as_text(replicate: Client) -> None:
    assert replicate.run(f"ours/writer:{VERSION}", input={"prompt": "a fox"}) == "A text about: a fox"
    by_id = replicate.predictions.create(version=VERSION, input={"prompt": "a hare"})
    by_id.wait()
    assert by_id.output == "A text about: a hare" and by_id.version == VERSION
    with pytest.raises(ReplicateError, match="404"):  # as Replicate has it: such a model runs by its version alone
        replicate.predictions.create(model="ours/writer", input={"prompt": "a fox"})


def test_a_deployment_that_is_not_there(replicate: Client) -> None:
    with pytest.raises(ReplicateError, match="404"):
        replicate.deployments.predictions.create("ours/none", input={"prompt": "a fox"})


def test_a_stream_tells_the_progress_and_the_output(replicate: Client) -> None:
    prediction = replicate.predictions.create(model=QWEN, input={"prompt": "a streamed fox"}, stream=True)
    events = list(prediction.stream())
    assert [str(each.event.value) for each in events][-2:] == ["output", "done"]
    assert events[0].event.value == "logs"


def test_a_stream_tells_the_place_in_the_line(replicate: Client, house: House) -> None:
    limiter = house.gateway.producer.limiter
    house.sandbox.settings.latency_seconds = 2.0
    limiter.store_limits({"max_concurrent": 1})
    try:
        until(lambda: limiter.status().max_concurrent == 1, what="the limit is in force")
        rows = [replicate.predictions.create(model=QWEN, input={"prompt": f"fox {n} of a line"}) for n in range(3)]
        house.sandbox.settings.latency_seconds = 0.1
        events = list(rows[2].stream())
    finally:
        limiter.store_limits({"max_concurrent": None})
        house.sandbox.settings.latency_seconds = 0.1
    lines = [line for each in events if each.event.value == "logs" for line in each.data.splitlines()]
    assert any(re.fullmatch(r"waiting: [12] before it, about \d+ s until it is made", line) for line in lines), lines
    assert all(one != following for one, following in pairwise(lines)), "what has not changed is not told again"
    assert [each.event.value for each in events][-2:] == ["output", "done"]
