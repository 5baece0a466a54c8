"""A model may make anything: each output harms its own item alone, within the worker's memory."""

from __future__ import annotations

import base64
import io
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from replibatch import BatchRequest, enqueue_batch
from replibatch.sandbox import Sandbox, outcomes
from tests.support.file_server import FileServer, content

MODEL = "qwen/qwen-image"
LARGEST_MIB = 400
INNOCENT = 12
TIMES = 3


def png(side: int) -> str:
    file = io.BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_hostile_outputs_beside_innocent_ones(
    fleet: str,
    sandbox: Sandbox,
    start_worker: Callable[..., subprocess.Popen[bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REPLIBATCH_PLACEHOLDER", "false")
    make, hostile = outcomes.output_of, {}

    def output_of(request: Any, course: Any) -> Any:
        return hostile.get(request.prompt) or make(request, course)

    monkeypatch.setattr(outcomes, "output_of", output_of)
    with FileServer() as inner:
        secret = inner.serve("/secret", content(b"secret of the private network"))
        hostile |= {
            "a private address": secret,
            "the same by name": secret.replace("127.0.0.1", "localhost"),
            "the same in other words": secret.replace("127.0.0.1", "0x7f000001"),
            "metadata of a cloud": "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
            "metadata in IPv6": "http://[::ffff:169.254.169.254]/latest/",
            "the account's list": f"{sandbox.url}/v1/predictions",
            "the account's files": f"{sandbox.url}/v1/files",
            "a file": "file:///etc/passwd",
            "many files": [png(8)] * 3000,
            "a very large picture": png(9380),
            "a large picture, several times": [png(4000)] * 4,
            "a long text": "x" * 5_000_000,
            "no base64": "data:image/png;base64,!!!!",
        }
        worker = start_worker("--concurrency", "20")

        def innocent(name: str) -> float:
            began = time.monotonic()
            batch = enqueue_batch(BatchRequest(f"{name} {number}", MODEL) for number in range(INNOCENT))
            assert all(result.success for result in batch.results(timeout=90))
            return time.monotonic() - began

        innocent("warm")
        alone = innocent("alone")
        batch = enqueue_batch(
            [BatchRequest(prompt, MODEL, f"hostile/{number}.jpg") for number, prompt in enumerate(hostile)]
        )
        beside = innocent("beside")
        try:
            results = batch.results(timeout=60)
        except TimeoutError:
            pytest.fail((tmp_path / "worker-0.log").read_text()[-5000:])
        assert inner.requests == []
    assert worker.poll() is None
    assert beside < max(TIMES * alone, 15), (beside, alone)
    assert peak_mib(worker.pid) < LARGEST_MIB
    by_prompt = {result.prompt: result for result in results}
    for prompt in ("a private address", "the same by name", "the same in other words", "metadata of a cloud"):
        assert not by_prompt[prompt].success and "public address" in str(by_prompt[prompt].error), by_prompt[prompt]
    for prompt in ("the account's list", "the account's files"):
        assert "no file" in str(by_prompt[prompt].error), by_prompt[prompt]
    assert not by_prompt["metadata in IPv6"].success
    for result in results:
        assert len(result.error or "") <= 2000 and "\n" not in (result.error or "")
        for file in result.files:
            assert b"secret" not in file.read()[:1000] and b"root:" not in file.read()[:1000]
    assert "r8_of_the_tests" not in (tmp_path / "worker-0.log").read_text()
