"""A fleet to measure: a Redis, the stand-in in a process of its own, and worker processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import Request, urlopen

import psutil
from redis import Redis

from benchmarks.rivals import MODEL, Run, Task
from replibatch import BatchRequest, enqueue_batch
from replibatch.embedded.server import choose_endpoint, find_server, write_config

PROJECT = Path(__file__).parent.parent
READY_SECONDS = 60.0
RESULT_SECONDS = 600.0
LATE_WORK_SECONDS = 0.5  # after the last result, until what it cost is counted: events, states, acknowledgements
MIB = 2**20
TOKEN = "r8_of_the_benchmarks"  # the stand-in takes any


class Fleet:
    """Redis, stand-in and workers, gone when the block ends.

    Args:
        workers: how many worker processes.
        concurrency: threads of each.
        sandbox: settings of the stand-in, by field name.
        environment: variables for the workers and for this process, while the block lasts.
        durable: whether Redis keeps every acknowledged write.
    """

    def __init__(
        self,
        *,
        workers: int = 1,
        concurrency: int = 100,
        sandbox: dict[str, Any] | None = None,
        environment: dict[str, str] | None = None,
        durable: bool = True,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rb-"))
        self.workers: list[subprocess.Popen[bytes]] = []
        self._count = workers
        self._concurrency = concurrency
        self._sandbox_settings = {"long_edge_pixels": 64, **(sandbox or {})}  # pictures cost more than all the rest
        self._environment = environment or {}
        self._durable = durable

    def __enter__(self) -> Self:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # a benchmark that is ended takes its processes along
        binary = find_server(self.folder)
        assert binary is not None
        endpoint = choose_endpoint(self.folder)
        self.redis_url = endpoint.url
        self._redis_command = [str(binary), str(write_config(self.folder, endpoint, durable=self._durable))]
        self.start_redis()
        self._start_sandbox()
        self._before = dict(os.environ), Path.cwd()
        os.chdir(self.folder)  # where results are brought home to
        os.environ.update(
            REPLICATE_BASE_URL=self.sandbox_url,
            REPLICATE_API_TOKEN=TOKEN,
            REPLIBATCH_REDIS_URL=self.redis_url,
            REPLIBATCH_STORAGE_URL=str(self.folder / "files"),
            REPLIBATCH_STATE_DIR=str(self.folder / "state"),
            PYTHONPATH=str(PROJECT),
            **self._environment,
        )
        for _ in range(self._count):
            self.start_worker()
        self.await_workers(self._count)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for process in self.workers:
            process.send_signal(signal.SIGCONT)
        _end(*self.workers)
        _end(self.sandbox, self.redis)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        environment, folder = self._before
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        if kind is None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def start_redis(self) -> None:
        """Start Redis, and wait until it answers."""
        self.redis = subprocess.Popen(self._redis_command, stdout=subprocess.DEVNULL)
        _until(self._redis_answers, "redis answers")

    def start_worker(self) -> subprocess.Popen[bytes]:
        """One more worker; its log is `worker-<n>.log` in the folder."""
        command = [sys.executable, "-P", "-m", "replibatch", "worker", "--concurrency", str(self._concurrency)]
        with (self.folder / f"worker-{len(self.workers)}.log").open("wb") as log:
            worker = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self.workers.append(worker)
        return worker

    def await_workers(self, count: int) -> None:
        """Wait until that many processes have said hello."""
        _until(lambda: self._known() >= count, f"{count} workers")

    def run(self, task: Task) -> Run:
        """Make the task's generations as a batch, from this process; its files are at home when this returns."""
        before, began = self.cpu_seconds(), time.perf_counter()
        batch = enqueue_batch([BatchRequest(prompt, MODEL) for prompt in task.prompts])
        results = batch.results(timeout=RESULT_SECONDS)
        wall_seconds = time.perf_counter() - began
        time.sleep(LATE_WORK_SECONDS)
        spent = {kind: seconds - before[kind] for kind, seconds in self.cpu_seconds().items()}
        return Run(wall_seconds, spent, sum(result.success for result in results))

    def cpu_seconds(self) -> dict[str, float]:
        """What has been used so far, by the producer (this process), the workers with their children, and Redis."""
        own = psutil.Process().cpu_times()
        return {
            "producer": own.user + own.system,
            "workers": sum(_cpu_seconds(psutil.Process(worker.pid)) for worker in self.workers),
            "Redis": _cpu_seconds(psutil.Process(self.redis.pid)),
        }

    def worker_rss_mib(self) -> float:
        """The resident memory of all workers with their children."""
        trees = (psutil.Process(worker.pid) for worker in self.workers)
        return sum(one.memory_info().rss for tree in trees for one in (tree, *tree.children(recursive=True))) / MIB

    def predictions(self) -> dict[str, dict[str, Any]]:
        """What the stand-in's list shows, by prompt; each page counts as a read."""
        found: dict[str, dict[str, Any]] = {}
        page: str | None = f"{self.sandbox_url}/v1/predictions"
        while page:
            with urlopen(Request(page, headers={"Authorization": f"Bearer {TOKEN}"})) as answer:
                listing = json.load(answer)
            found |= {row["input"]["prompt"]: row for row in listing["results"]}
            page = listing["next"]
        return found

    def reset_books(self) -> None:
        """Start new books."""
        urlopen(Request(f"{self.sandbox_url}/books/reset", method="POST")).close()

    def books(self, window_seconds: float = 60.0) -> dict[str, Any]:
        """The stand-in's books."""
        with urlopen(f"{self.sandbox_url}/books?window_seconds={window_seconds}") as answer:
            books: dict[str, Any] = json.load(answer)
        return books

    def set_sandbox(self, **settings: Any) -> None:
        """Change the stand-in while it runs."""
        body = json.dumps(settings).encode()
        request = Request(f"{self.sandbox_url}/settings", body, {"Content-Type": "application/json"})
        urlopen(request).close()

    def _start_sandbox(self) -> None:
        code = (
            "import json, sys; from replibatch.sandbox import SandboxSettings, serve; "
            "serve(SandboxSettings(**json.loads(sys.argv[1])), '127.0.0.1', 0, "
            "on_ready=lambda url: print(url, flush=True))"
        )
        self.sandbox = subprocess.Popen(
            [sys.executable, "-c", code, json.dumps(self._sandbox_settings)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            start_new_session=True,
        )
        assert self.sandbox.stdout is not None
        self.sandbox_url = self.sandbox.stdout.readline().strip()

    def _redis_answers(self) -> bool:
        try:
            with Redis.from_url(self.redis_url, retry=None) as redis:
                return bool(redis.ping())
        except OSError:
            return False
        except Exception:  # loading, or not there yet
            return False

    def _known(self) -> int:
        with Redis.from_url(self.redis_url, decode_responses=True) as redis:
            return sum(
                "pid" in json.loads(report) for key in redis.scan_iter("rb:*:reports") for report in redis.hvals(key)
            )


def _end(*processes: subprocess.Popen[Any]) -> None:
    """Ask them to end, and see that they do."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _cpu_seconds(process: psutil.Process) -> float:
    """Of a process, its children and theirs, those that have ended included."""
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return sum(each.user + each.system + each.children_user + each.children_system for each in times)


def _until(condition: Any, what: str) -> None:
    ends = time.monotonic() + READY_SECONDS
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError(f"not within {READY_SECONDS} s: {what}")
        time.sleep(0.02)
