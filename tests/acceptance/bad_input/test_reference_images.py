"""Reference images: looked at before anything is paid for, uploaded once, and never a path or a picture in Redis."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from PIL import Image
from redis import Redis

import replibatch
from replibatch import BatchRequest
from replibatch.errors import ReferenceImageError
from replibatch.sandbox import Sandbox
from tests.support.catalogue import KONTEXT, NANO
from tests.support.waiting import until


def noise(path: Path, side: int = 96) -> bytes:
    """An image that compresses badly."""
    Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(path)
    return path.read_bytes()


def data_uri(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("missing.png", "no such file"),
        ("empty.png", "an empty file"),
        ("text.png", "not an image"),
        (data_uri(b"no picture"), "not an image"),
        ("data:image/png;base64,!!!!", "malformed data URI"),
        ("data:image/png;base64,", "without data"),
    ],
)
def test_what_is_no_image_is_refused_when_enqueued(sandbox: Sandbox, place: str, said: str) -> None:
    Path("empty.png").touch()
    Path("text.png").write_text("not an image")
    with pytest.raises(ReferenceImageError, match=said):
        replibatch.enqueue(BatchRequest("a fox", NANO, kwargs={"image_input": [place]}))
    assert sandbox.books.reads_by_kind["file"] == 0 and not sandbox.books.create_times


def test_one_image_of_a_whole_batch_is_uploaded_once_and_only_its_hash_is_in_redis(
    sandbox: Sandbox, fleet: str, start_worker: Callable, tmp_path: Path
) -> None:
    content = noise(tmp_path / "logo.png")
    Path("copy.png").write_bytes(content)
    places = [str(tmp_path / "logo.png"), "copy.png", data_uri(content)]
    requests = [
        BatchRequest(f"sheet {number}", NANO, f"{number}.png", {"image_input": [places[number % 3]]})
        for number in range(6)
    ]
    sandbox.settings.latency_seconds = 2.0
    batch = replibatch.enqueue_batch(requests)
    with Redis.from_url(fleet) as redis:
        held = b" ".join(redis.dump(key) for key in redis.scan_iter("*"))
        assert len(data_uri(content)) > len(held), "no picture is in there"
        assert str(tmp_path / "logo.png").encode() not in held and b"copy.png" not in held
    start_worker()
    assert all(result.success for result in batch.results(60))
    urls = {bill.input["image_input"][0] for bill in sandbox.books.bills()}
    assert len(urls) == 1 and urls.pop().startswith(f"{sandbox.url}/v1/files/")
    assert sandbox.books.reads_by_kind["file"] == 1


def test_an_image_replicate_has_dropped_is_uploaded_again(sandbox: Sandbox, picture: Callable[[str], Path]) -> None:
    inputs = {"input_image": str(picture("face.png"))}
    assert replibatch.replicate_model_calling("a face", KONTEXT, "one.png", **inputs)
    (bill,) = sandbox.books.bills()
    address = bill.input["input_image"]
    headers = {"Authorization": f"Bearer {os.environ['REPLICATE_API_TOKEN']}"}
    httpx.delete(address, headers=headers).raise_for_status()
    result = replibatch.enqueue(BatchRequest("another face", KONTEXT, "two.png", inputs)).result(60)
    assert result.success and result.model_used == KONTEXT
    assert [attempt.reason for attempt in result.attempts] == ["input_dropped", None]
    assert result.cost_usd == result.attempts[-1].cost_usd


@pytest.mark.parametrize("goes", [subprocess.Popen.kill, subprocess.Popen.terminate])
def test_a_create_whose_reply_was_lost_is_recognised_though_its_image_was_uploaded_again(
    goes: Callable[[subprocess.Popen[bytes]], None],
    sandbox: Sandbox,
    fleet: str,
    start_worker: Callable,
    picture: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REPLIBATCH_LEASE_SECONDS", "2")
    monkeypatch.setenv("REPLIBATCH_SETTLE_SECONDS", "3")
    victim = start_worker()
    request = BatchRequest("a face [[hang-reply]]", KONTEXT, "face.png", {"input_image": str(picture("face.png"))})
    job = replibatch.enqueue(request)
    until(lambda: sandbox.books.create_times, what="the POST has arrived")
    goes(victim)
    with Redis.from_url(fleet) as redis:
        (address,) = redis.scan_iter("rb:*:upload:*")
        redis.delete(address)  # as when Replicate was found to have dropped the file
    start_worker()
    assert job.result(60).success and len(sandbox.books.create_times) == 1
