"""A bucket as storage, against a server that speaks S3."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from PIL import Image

from replibatch.errors import OutputPathError, ReferenceImageError, SettingsError, StorageError
from replibatch.outputs.placeholder import placeholder
from replibatch.outputs.save import save_placeholder
from replibatch.requests import OutputFile
from replibatch.storage.s3 import KEPT_ANEW_SECONDS, PART_BYTES, ObjectStorage
from replibatch.storage.storage import open_storage
from replibatch.storage.stored import StoredFile


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


@pytest.fixture
def storage(bucket: str, scratch: Path) -> ObjectStorage:
    opened = open_storage(f"{bucket}/some/prefix", Path.cwd(), scratch=scratch)
    assert isinstance(opened, ObjectStorage)
    return opened


def put(storage: ObjectStorage, key: str, content: bytes, *, overwrite: bool = True) -> bool:
    with storage.staging(key) as stage:
        stage.path.write_bytes(content)
        return stage.commit(overwrite=overwrite)


def read(storage: ObjectStorage, key: str) -> bytes:
    return b"".join(storage.chunks(key))


@pytest.fixture
def somebody(bucket: str) -> Callable[[str], dict[str, Any]]:
    """Another program with the same credentials: tells what the bucket has under a key."""
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    return lambda key: client.get_object(Bucket=bucket.removeprefix("s3://"), Key=key)


def test_an_object_is_there_whole_under_its_name_and_the_prefix(storage, somebody, scratch):
    with storage.staging("a b/Füchslein #1.png") as stage:
        stage.path.write_bytes(b"fox")
        with pytest.raises(FileNotFoundError):
            read(storage, "a b/Füchslein #1.png")
        stage.commit()
    assert read(storage, "a b/Füchslein #1.png") == b"fox"
    served = somebody("some/prefix/a b/Füchslein #1.png")
    assert (served["Body"].read(), served["ContentType"]) == (b"fox", "image/png")
    assert list(scratch.iterdir()) == [], "nothing is left on this machine"


def test_what_is_not_committed_leaves_nothing(storage, scratch):
    put(storage, "fox.png", b"old")
    with pytest.raises(RuntimeError), storage.staging("fox.png") as stage:
        stage.path.write_bytes(b"new")
        raise RuntimeError
    assert read(storage, "fox.png") == b"old"
    assert list(scratch.iterdir()) == []


def test_commit_replaces_only_where_it_may(storage):
    assert put(storage, "fox.png", b"1", overwrite=False)
    assert not put(storage, "fox.png", b"2", overwrite=False)
    assert read(storage, "fox.png") == b"1"
    assert put(storage, "fox.png", b"3")
    assert read(storage, "fox.png") == b"3"


def test_a_large_file_goes_in_parts_and_comes_back_the_same(storage, tmp_path):
    content = os.urandom(2 * PART_BYTES + 12_345)
    put(storage, "film.mp4", content)
    storage.fetch("film.mp4", tmp_path / "home/deep/film.mp4")
    assert (tmp_path / "home/deep/film.mp4").read_bytes() == content
    file = StoredFile.of(OutputFile("film.mp4"), storage)
    assert file.read() == content
    assert sum(1 for _ in file) > 3, "in chunks"


def test_no_file_is_held_whole_in_memory(bucket, scratch, tmp_path):
    size = 120_000_000
    film = tmp_path / "film.mp4"
    with film.open("wb") as file:
        for _ in range(size // 1_000_000):
            file.write(os.urandom(1_000_000))
    script = (
        "import os, resource, sys; from pathlib import Path; from replibatch.storage.storage import open_storage\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "storage = open_storage(sys.argv[1], Path('.'), scratch=Path(sys.argv[2]))\n"
        "storage.check_writable(); before = peak()\n"
        "with storage.staging('film.mp4') as stage:\n"
        "    os.link(sys.argv[3], stage.path); stage.commit()\n"
        "storage.fetch('film.mp4', Path(sys.argv[3] + '.back'))\n"
        "print(peak() - before)"
    )
    arguments = [sys.executable, "-c", script, bucket, str(scratch), str(film)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=True)
    assert int(done.stdout) < size / 2
    with film.open("rb") as one, Path(f"{film}.back").open("rb") as other:
        assert hashlib.file_digest(one, "sha256").digest() == hashlib.file_digest(other, "sha256").digest()


@pytest.mark.parametrize("key", ["../fox.png", "a/../../fox.png", "/fox.png", "a/..", "..", ".replibatch/fox.png"])
def test_nothing_leaves_the_prefix(storage, key):
    with pytest.raises(OutputPathError):
        put(storage, key, b"fox")
    with pytest.raises(OutputPathError):
        read(storage, key)


def test_what_is_not_there_is_said_and_leaves_no_file(storage, bucket, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{bucket}/some/prefix/fox.png: not there"):
        storage.fetch("fox.png", tmp_path / "home/fox.png")
    assert list((tmp_path / "home").iterdir()) == []


def test_reference_images_are_kept_by_content(storage, somebody, tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    content = (tmp_path / "red.png").read_bytes()
    reference = storage.keep_input([content[:20], content[20:]], "JPG")
    assert reference == f"file:{hashlib.sha256(content).hexdigest()}.png"
    place = f"some/prefix/.replibatch/inputs/{reference[5:]}"
    first = somebody(place)
    assert first["Body"].read() == content
    time.sleep(1.1)  # times are whole seconds there
    assert storage.keep_input([content], "png") == reference
    assert somebody(place)["LastModified"] == first["LastModified"], "a young one is not uploaded again"
    with storage.open_input(reference) as kept:
        assert kept.read_bytes() == content
    assert not kept.exists()


@pytest.mark.parametrize("reference", [f"file:{'0' * 64}.png", "file:../../etc/passwd", "https://x/y.png", "file:"])
def test_a_reference_image_that_is_not_there_is_said(storage, reference):
    with pytest.raises(ReferenceImageError, match="is not in"), storage.open_input(reference):
        pass


def test_reference_images_are_removed_by_age_and_nothing_else_is(storage):
    put(storage, "fox.png", b"fox")
    reference = storage.keep_input([b"red"], "png")
    assert storage.remove_inputs(KEPT_ANEW_SECONDS) == 0
    assert storage.remove_inputs(-5) == 1
    with pytest.raises(ReferenceImageError), storage.open_input(reference):
        pass
    assert storage.remove_inputs(-5) == 0
    assert read(storage, "fox.png") == b"fox"


def test_reference_images_are_those_of_one_account(bucket, scratch):
    mine, other = (
        open_storage(bucket, Path.cwd(), scratch=scratch, account=f"{name}@127.0.0.1=3A80") for name in ("a", "b")
    )
    reference = mine.keep_input([b"red"], "png")
    assert other.keep_input([b"red"], "png") == reference
    assert other.remove_inputs(-5) == 1
    with mine.open_input(reference) as kept:
        assert kept.read_bytes() == b"red"
    with pytest.raises(ReferenceImageError), other.open_input(reference):
        pass


def test_a_bucket_keeps_the_identity_it_was_given_first(storage, bucket, scratch):
    assert storage.identity() is None
    first: list[str] = []
    together = threading.Barrier(4)

    def mark(number: int) -> None:
        together.wait()
        first.append(open_storage(f"{bucket}/some/prefix", Path.cwd(), scratch=scratch).mark(str(number)))

    threads = [threading.Thread(target=mark, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(first) == 4 and set(first) == {storage.identity()}
    assert open_storage(f"{bucket}/other", Path.cwd(), scratch=scratch).identity() is None


def test_a_placeholder_replaces_no_success_and_twice_is_the_same(storage):
    first = save_placeholder(key="fox.jpg", storage=storage)
    assert first == save_placeholder(key="fox.jpg", storage=storage)
    assert read(storage, "fox.jpg") == placeholder("fox.jpg")
    put(storage, "wolf.jpg", b"a real wolf")
    assert save_placeholder(key="wolf.jpg", storage=storage) is None
    assert read(storage, "wolf.jpg") == b"a real wolf"


def test_writable_or_the_reason(storage, bucket, scratch, monkeypatch):
    storage.check_writable()
    with pytest.raises(
        SettingsError, match=r"^the storage 's3://nobody-s' cannot be written: .*NoSuchBucket"
    ) as said:
        open_storage("s3://nobody-s", Path.cwd(), scratch=scratch).check_writable()
    assert "\n" not in str(said.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(SettingsError, match="cannot be written") as said:
        open_storage(bucket, Path.cwd(), scratch=scratch).check_writable()
    assert "\n" not in str(said.value)


def test_a_server_elsewhere_is_not_spoken_to_without_tls(bucket, scratch, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://192.0.2.1:9")  # nobody's, by RFC 5737
    storage = open_storage(bucket, Path.cwd(), scratch=scratch)
    with pytest.raises(SettingsError, match="cannot be written"):
        storage.check_writable()


def test_what_goes_wrong_is_one_line_without_the_credentials(bucket, tmp_path):
    broken = open_storage("s3://nobody-s/prefix", Path.cwd(), scratch=tmp_path)
    for step in (lambda: put(broken, "fox.png", b"fox"), lambda: broken.keep_input([b"red"], "png")):
        with pytest.raises(StorageError) as said:
            step()
        assert said.value.__suppress_context__ and said.value.__cause__ is None
        told = str(said.value)
        assert "\n" not in told and "s3://nobody-s/prefix" in told
        assert os.environ["AWS_SECRET_ACCESS_KEY"] not in told
        assert os.environ["AWS_ACCESS_KEY_ID"] not in told


def test_other_schemes_of_obstore_are_opened_and_said_to_be_untested(scratch):
    with pytest.warns(UserWarning, match="gs://bucket: replibatch is tested with folders and s3:// alone"):
        open_storage("gs://bucket", Path.cwd(), scratch=scratch)
