"""One storage for a fleet: files reach the caller's machine, and workers that would part from it do not start."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from redis import Redis

import replibatch
from replibatch import BatchRequest
from replibatch.errors import SettingsError
from replibatch.requests import BatchResult
from replibatch.sandbox import Sandbox
from replibatch.storage.names import IDENTITY
from tests.support.catalogue import NANO, QWEN
from tests.support.waiting import until

StartWorker = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def elsewhere(
    bucket: str, sandbox: Sandbox, start_worker: StartWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """This process's working directory, on another machine than the worker: all they share is Redis and a bucket."""
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", f"{bucket}/pictures")
    theirs, ours = tmp_path / "worker", tmp_path / "producer"
    for folder in (theirs, ours):
        folder.mkdir()
    monkeypatch.chdir(theirs)
    start_worker(REPLIBATCH_STATE_DIR=str(tmp_path / "worker-state"))
    monkeypatch.chdir(ours)
    monkeypatch.delenv("REPLICATE_API_TOKEN")  # producers need none
    yield ours
    assert list(theirs.iterdir()) == [], "the worker leaves nothing on its own disk"
    assert not list(tmp_path.rglob("scratch/*"))


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "replibatch", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)


def everything_in(redis_url: str) -> str:
    """All that Redis holds, keys and values."""
    with Redis.from_url(redis_url) as redis:
        return " ".join(f"{key!r} {redis.dump(key)!r}" for key in redis.scan_iter("*"))


def test_blocking_calls_bring_files_to_the_path_asked_for(elsewhere: Path, fleet: str, tmp_path: Path) -> None:
    assert replibatch.replicate_model_calling("a fox", QWEN, "out/fox.png") == [str(elsewhere / "out/fox.png")]
    absolute = tmp_path / "desk" / "wolf.jpg"
    assert replibatch.replicate_model_calling("a wolf", QWEN, str(absolute)) == [str(absolute)]
    for path, kind in ((elsewhere / "out/fox.png", "PNG"), (absolute, "JPEG")):
        with Image.open(path) as image:
            assert image.format == kind
    names = ["many/1.webp", "many/2.webp"]
    files = asyncio.run(replibatch.intelligent_batch_process(["one", "two"], QWEN, output_filepath=names))
    assert files == [str(elsewhere / name) for name in names]
    assert all(Path(file).stat().st_size for file in files)
    held = everything_in(fleet)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in held and os.environ["AWS_ACCESS_KEY_ID"] not in held
    assert str(elsewhere) not in held and str(absolute.parent) not in held, "no path of somebody's disk travels"


def test_a_result_can_be_read_from_the_storage_alone(elsewhere: Path) -> None:
    job = replibatch.enqueue(BatchRequest("a fox", QWEN, "fox.png"))
    (file,) = job.result(60, bring_files=False).files

    async def asynchronously() -> tuple[bytes, bytes]:
        (other,) = (await job.aresult(60, bring_files=False)).files
        return await other.aread(), b"".join([chunk async for chunk in other])

    content = file.read()
    assert content.startswith(b"\x89PNG") and len(content) == file.size_bytes
    assert b"".join(file) == content
    assert asyncio.run(asynchronously()) == (content, content)
    assert list(elsewhere.iterdir()) == [], "no file has come here"
    assert Path(job.result(5).file_paths[0]).read_bytes() == content


def test_reference_images_travel_through_the_storage(elsewhere: Path, sandbox: Sandbox, picture: Callable) -> None:
    shutil.move(picture("logo.png"), "logo.png")
    files = replibatch.replicate_model_calling("a sheet", NANO, "sheet.png", image_input=["logo.png"])
    assert Path(files[0]).exists()
    (bill,) = sandbox.books.bills()
    assert bill.input["image_input"][0].startswith(f"{sandbox.url}/v1/files/")


def test_run_and_results_bring_files_to_their_folder(elsewhere: Path) -> None:
    Path("prompts.txt").write_text("a fox\na wolf\n")
    ran = command("run", "prompts.txt", "-m", QWEN, "-o", "out", "--json")
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines()]
    assert all(Path(elsewhere, "out", path).stat().st_size for line in lines for path in line["file_paths"])
    batch = json.loads(ran.stdout.splitlines()[-1])["summary"]["batch"]
    brought = command("results", batch, "-o", "again")
    assert brought.returncode == 0, brought.stderr
    assert sorted(path.name for path in Path("again").iterdir()) == sorted(
        Path(path).name for line in lines for path in line["file_paths"]
    )


def test_a_placeholder_comes_too(elsewhere: Path) -> None:
    result: BatchResult = replibatch.enqueue(BatchRequest("no [[failed]]", QWEN, "no.png")).result(60)
    assert result.placeholder and Path("no.png").exists()


def test_a_worker_with_another_storage_does_not_start(
    sandbox: Sandbox, start_worker: StartWorker, tmp_path: Path, fleet: str
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    started = start_worker(REPLIBATCH_STORAGE_URL=str(one))
    line = [sys.executable, "-P", "-m", "replibatch", "worker"]
    if shutil.which("unshare") and os.geteuid() == 0:  # another host, as far as the kernel's name for it goes
        line = ["unshare", "--uts", "sh", "-c", 'hostname host-b && exec "$@"', "sh", *line]
    environment = {**os.environ, "REPLIBATCH_STORAGE_URL": str(other)}
    refused = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2
    told = refused.stderr.splitlines()[-1]
    assert told.startswith(f"replibatch: the storage '{other}' on "), refused.stderr
    assert f"'{one}' on " in told and "REPLIBATCH_STORAGE_URL" in told
    assert (line[0] == "unshare") == (f"'{other}' on host-b" in told)
    assert not sandbox.books.create_times
    # The same folder under another name is the same storage.
    (tmp_path / "link").symlink_to(one)
    start_worker(REPLIBATCH_STORAGE_URL=str(tmp_path / "link"))
    # Once nobody has the old storage any more, a fleet may have a new one.
    started.terminate()
    assert started.wait(20) == 0


def test_where_the_marker_was_deleted_one_that_starts_leaves_it_to_those_who_know_it(
    sandbox: Sandbox, start_worker: StartWorker, fleet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "files"))
    start_worker()
    marker = tmp_path / "files" / IDENTITY
    with Redis.from_url(fleet, decode_responses=True) as redis:
        until(lambda: list(redis.scan_iter("rb:*:inputs:removing")), what="the first look after the storage is over")
    identity = marker.read_text()
    marker.unlink()
    refused = command("worker")
    assert refused.returncode == 2
    assert "storage-id deleted? the workers write it again" in refused.stderr.splitlines()[-1]
    assert not marker.exists()
    marker.write_text(identity)  # as the first one does within a minute
    start_worker()


def test_a_worker_is_not_heard_of_before_its_storage_is(
    sandbox: Sandbox, start_worker: StartWorker, fleet: str, tmp_path: Path
) -> None:
    """Else a caller with another storage could slip past it."""
    with Redis.from_url(fleet, decode_responses=True) as redis, redis.monitor() as monitor:
        pid = start_worker(REPLIBATCH_STORAGE_URL=str(tmp_path / "theirs")).pid
        redis.delete("the end of the list")
        commands = iter(lambda: str(monitor.next_command()["command"]), "DEL the end of the list")
        said = [
            each for each in commands if each.startswith("HSET") and f":reports {socket.gethostname()}/{pid}/" in each
        ]
    assert said and all('"storage"' in each for each in said)


def test_a_caller_with_another_storage_is_told_before_anything_is_paid_for(
    sandbox: Sandbox, start_worker: StartWorker, tmp_path: Path, picture: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_worker(REPLIBATCH_STORAGE_URL=str(tmp_path / "theirs"))
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "ours"))
    with pytest.raises(SettingsError, match="is not the one a worker has"):
        replibatch.replicate_model_calling("a fox", QWEN, "fox.png")
    with pytest.raises(SettingsError, match="is not the one a worker has"):
        replibatch.enqueue(BatchRequest("a fox", NANO, "fox.png", {"image_input": str(picture("logo.png"))}))
    Path("prompts.txt").write_text("a fox\n")
    ran = command("run", "prompts.txt", "-m", QWEN, "-o", "out")
    assert ran.returncode == 2 and "is not the one a worker has" in ran.stderr
    assert not sandbox.books.create_times
