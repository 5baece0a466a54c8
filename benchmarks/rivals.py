"""What replibatch is compared with: processes of their own that make the same generations on the same stand-in."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

MODEL = "qwen/qwen-image"
KIB_A_MIB = 1024


@dataclass(frozen=True)
class Task:
    """What everybody is given to do.

    Attributes:
        name: the prompts begin with it.
        count: how many prompts.
        in_flight: how many of them at once.
        one_by_one: each is called for itself, once the one before is saved.
        pause_seconds: between two that go one by one.
        threads: of the pool of one who uses threads; None for its own choice.
        hold: the raw client has its POSTs held until the end, instead of polling.
    """

    name: str
    count: int
    in_flight: int = 1
    one_by_one: bool = False
    pause_seconds: float = 0.0
    threads: int | None = None
    hold: bool = True

    @property
    def prompts(self) -> list[str]:
        """Each of its own."""
        return [f"{self.name} {number}" for number in range(self.count)]


@dataclass(frozen=True)
class Call:
    """One generation, in Unix seconds: asked for, and with its file on the disk."""

    prompt: str
    called_at: float
    saved_at: float


@dataclass(frozen=True)
class Run:
    """What one run took.

    Attributes:
        wall_seconds: from the call to the last file; imports are not in it.
        cpu_seconds: by kind of process.
        peak_rss_mib: of the rival's process; 0 where it was not looked at.
        good: how many files there are.
        calls: where it went one by one.
    """

    wall_seconds: float
    cpu_seconds: dict[str, float]
    good: int
    peak_rss_mib: float = 0.0
    calls: tuple[Call, ...] = ()

    @property
    def cpu_ms_each(self) -> float:
        """CPU of all processes for each generation."""
        return 1000 * sum(self.cpu_seconds.values()) / self.good


def has_predecessor() -> bool:
    """Whether the `bench` extra is installed; says so where it is not."""
    try:
        version("replicate-batch-process")
    except PackageNotFoundError:
        print("replicate-batch-process is not installed and is left out: pip install replibatch[bench]")
        return False
    return True


def raw_client(task: Task) -> Run:
    """The replicate client under asyncio."""
    return _run("raw_client", task)


def predecessor(task: Task) -> Run:
    """replicate-batch-process."""
    return _run("predecessor", task)


def _run(module: str, task: Task) -> Run:
    folder = Path(task.name).absolute()
    folder.mkdir()
    with (folder / "log.txt").open("wb") as log:
        subprocess.run(
            [sys.executable, "-P", "-m", f"benchmarks.{module}", json.dumps(asdict(task))],
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            check=True,
        )
    told = json.loads((folder / "run.json").read_text("utf-8"))
    good = sum(path.stat().st_size > 0 for path in (folder / "files").iterdir())
    return Run(good=good, **{**told, "calls": tuple(Call(**call) for call in told["calls"])})


def compete(generate: Callable[[Task, Path], Awaitable[list[Call]]]) -> None:
    """What a rival's process does: the task of its command line, from a folder of its own."""
    task, files = Task(**json.loads(sys.argv[1])), Path("files")
    files.mkdir()
    began, cpu = time.perf_counter(), time.process_time()
    calls = asyncio.run(generate(task, files))
    run = {
        "wall_seconds": time.perf_counter() - began,
        "cpu_seconds": {"the process": time.process_time() - cpu},
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_A_MIB,
        "calls": [asdict(call) for call in calls],
    }
    Path("run.json").write_text(json.dumps(run), "utf-8")
