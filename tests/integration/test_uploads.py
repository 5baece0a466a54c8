"""Reference images on their way: each content uploaded once, as the stand-in's books count it."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import httpx
import pytest
from redis import Redis

from replibatch.errors import AttemptFailure
from replibatch.execution.uploads import KEPT_SECONDS, Uploads
from replibatch.redisdb.connection import connect
from replibatch.replicate_api import ReplicateAPI
from tests.support.account import TOKEN, account, create, write
from tests.support.catalogue import FLUX
from tests.support.sandbox_caller import wait_for

PREFIX = "rb:default@test:"


@pytest.fixture
def redis(redis_url: str) -> Redis:
    return connect(redis_url)


@pytest.fixture
def uploads(redis: Redis, api: ReplicateAPI, tmp_path: Path) -> Uploads:
    return of_worker(redis, api, tmp_path)


def of_worker(redis: Redis, api: ReplicateAPI, folder: Path) -> Uploads:
    """What another process on the same storage has."""
    return Uploads(
        redis, PREFIX, lambda name: nullcontext(folder / name.removeprefix("file:")), api.upload, api.has_file
    )


def kept(folder: Path, content: bytes = b"content", extension: str = "png") -> str:
    """A reference image as the storage keeps it; its name in requests."""
    name = f"{hashlib.sha256(content).hexdigest()}.{extension}"
    write(folder, name, content)
    return f"file:{name}"


def test_every_reference_becomes_an_address_and_nothing_else_changes(uploads, sandbox, tmp_path):
    given = {
        "prompt": "file:../../etc/passwd",
        "image": kept(tmp_path, b"one"),
        "images": [kept(tmp_path, b"two", "jpg"), "https://elsewhere.example/3.png", "data:image/png;base64,AA=="],
        "seed": 1,
        "mask": None,
    }
    resolved = uploads.with_urls(given)
    assert resolved["image"].startswith(f"{sandbox.url}/v1/files/")
    assert resolved["images"][0].startswith(f"{sandbox.url}/v1/files/")
    assert resolved["images"][1:] == given["images"][1:]
    assert {**resolved, "image": 0, "images": 0} == {**given, "image": 0, "images": 0}
    assert given["image"].startswith("file:"), "the request itself stays as it is"
    assert sandbox.books.reads_by_kind["file"] == 2


def test_it_is_uploaded_once_for_a_whole_fleet(uploads, redis, api, sandbox, tmp_path):
    image = kept(tmp_path)
    first = uploads.with_urls({"image": image})
    with account(sandbox.url) as other_api:
        assert of_worker(redis, other_api, tmp_path).with_urls({"image": image}) == first
    assert uploads.with_urls({"x": [image, image]})["x"] == [first["image"]] * 2
    assert sandbox.books.reads_by_kind["file"] == 1


def test_it_is_uploaded_once_though_threads_of_two_processes_want_it_at_once(redis, sandbox, tmp_path):
    image = kept(tmp_path, bytes(3_000_000))
    together = threading.Barrier(24)
    with account(sandbox.url) as one, account(sandbox.url) as two:
        workers = [of_worker(redis, api, tmp_path) for api in (one, two)]

        def resolve(number: int) -> str:
            together.wait()
            return str(workers[number % 2].with_urls({"image": image})["image"])

        with ThreadPoolExecutor(24) as pool:
            assert len(set(pool.map(resolve, range(24)))) == 1
    assert sandbox.books.reads_by_kind["file"] == 1


def test_different_ones_do_not_wait_for_each_other(redis, tmp_path):
    """Two uploads meet in the middle, which one after the other never could."""
    meet = threading.Barrier(2, timeout=5)

    def upload(path: Path, name: str) -> str:
        meet.wait()
        return f"https://there/{name}"

    uploads = Uploads(redis, PREFIX, lambda name: nullcontext(tmp_path / name), upload, lambda _: True)
    with ThreadPoolExecutor(2) as pool:
        images = [kept(tmp_path, b"a"), kept(tmp_path, b"b")]
        resolved = list(pool.map(lambda image: uploads.with_urls({"image": image}), images))
    assert [one["image"] for one in resolved] == [image.replace("file:", "https://there/") for image in images]


def test_it_is_uploaded_again_before_replicate_forgets_it(uploads, redis, sandbox, tmp_path):
    image = kept(tmp_path)
    uploads.with_urls({"image": image})
    (key,) = [name for name in redis.keys("*") if redis.type(name) == "string"]
    assert 0 < redis.ttl(key) <= KEPT_SECONDS < sandbox.settings.keep_files_seconds
    redis.delete(key)
    uploads.with_urls({"image": image})
    assert sandbox.books.reads_by_kind["file"] == 2


def test_a_failed_upload_is_kept_by_nobody(uploads, sandbox, tmp_path):
    image = kept(tmp_path, b"x" * 11)
    sandbox.settings.max_upload_bytes = 10
    with pytest.raises(AttemptFailure, match="less than"):
        uploads.with_urls({"image": image})
    sandbox.settings.max_upload_bytes = 100
    assert uploads.with_urls({"image": image})["image"].startswith(sandbox.url)


def test_an_upload_that_outlasts_its_lock_counts(redis, tmp_path):
    def upload(path: Path, _: str) -> str:
        for name in redis.keys("*:lock"):
            redis.delete(name)  # as when it has lapsed meanwhile
        return "https://there/a.png"

    image = kept(tmp_path)
    uploads = Uploads(redis, PREFIX, lambda _: nullcontext(tmp_path / "a.png"), upload, lambda _: True)
    assert uploads.with_urls({"image": image}) == {"image": "https://there/a.png"}


def test_a_model_can_read_what_was_uploaded(uploads, api, sandbox, tmp_path):
    image = kept(tmp_path)
    resolved = uploads.with_urls({"prompt": "a fox", "image": image})
    prediction = create(api, FLUX, resolved, 600)
    wait_for(lambda: api.get(prediction.id).is_over)
    assert api.get(prediction.id).status == "succeeded"


def test_what_replicate_has_dropped_is_uploaded_again(uploads, redis, api, sandbox, tmp_path):
    given = {
        "prompt": "a fox",
        "image": kept(tmp_path, b"one"),
        "images": [kept(tmp_path, b"two"), "https://x/3.png"],
    }
    sent = uploads.with_urls(given)
    assert not uploads.dropped(given, sent)
    with httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"}) as somebody:
        somebody.delete(sent["images"][0]).raise_for_status()
    assert uploads.dropped(given, sent)
    assert uploads.dropped(given, sent), "one that failed for the same file, and comes later, is told as well"
    renewed = uploads.with_urls(given)
    assert renewed["image"] == sent["image"] and renewed["images"][0] != sent["images"][0]
    assert api.has_file(renewed["images"][0])
    assert not uploads.dropped(given, renewed)


def test_for_a_model_that_takes_no_addresses_files_go_as_data_uris_and_are_not_uploaded(uploads, sandbox, tmp_path):
    given = {
        "image": kept(tmp_path, b"one"),
        "more": [kept(tmp_path, b"two", "jpg"), "https://x.example/3.png"],
        "n": 1,
    }
    sent = uploads.with_data(given)
    assert sent == {
        "image": "data:image/png;base64,b25l",
        "more": ["data:image/jpeg;base64,dHdv", "https://x.example/3.png"],
        "n": 1,
    }
    assert sandbox.books.reads_by_kind["file"] == 0
    assert not uploads.has_urls(given, sent) and not uploads.dropped(given, sent)
    assert uploads.has_urls(given, uploads.with_urls(given))
    assert not uploads.has_urls({"image": "https://x.example/3.png"}, {"image": "https://x.example/3.png"})
