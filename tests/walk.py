"""How a reader has to walk through the code: the modules that one attempt, and one line of a list, lead through.

    python -m tests.walk [--trace]

Runs a worker, the stand-in for Replicate and `replibatch submit` in this one process, on a Redis of its own, and
records every call of a function of ours, thread by thread, with `sys.setprofile`.

- The *attempt* is one call of `generate`, from its entry to its return: custody, create, wait, save, settle. It is
  the last of a list: the first also opens connections and reads the list's models.
- The *line* is a list of one line, from the call that reads it to the return of the call that notes its message as
  published. The producer has said that it lives, and has sent no message yet: what its first one needs belongs to it.

A function counts if it has a name at the top of a module or in a class: lambdas, comprehensions, nested functions and
the methods that `dataclass` generates are part of what stands around them. A generator that goes on counts as a call.
A call of a module other than the call before it is a *change of module* (the first call is one, too); a change into a
module that was entered before is a *return*, so that changes = modules + returns. Only what one thread does counts.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from itertools import groupby
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from unittest.mock import patch

from celery import signals
from celery.worker import state as celery_worker

from replibatch import Batch
from replibatch.cli.app import commands
from replibatch.cli.run.enqueue import Enqueuer
from replibatch.execution.attempt import generate
from replibatch.jobs import Jobs
from replibatch.producer import open_producer
from replibatch.sandbox import Sandbox, SandboxSettings
from tests.support.redis_server import RedisServer

OURS = ("replibatch", "workers")
READY_SECONDS = 60.0
PREDICTION_SECONDS = 0.3  # long enough that the attempt has to wait for it

Call = tuple[str, str]  # module, function
Event = tuple[bool, CodeType, str]  # whether it is a call, of what, in which module


@dataclass(frozen=True)
class Walk:
    """The named functions that were called, in order.

    Attributes:
        calls: module and function.
    """

    calls: Sequence[Call]

    @property
    def changes(self) -> list[Call]:
        """The calls that lead into another module than the call before."""
        return [next(run) for _, run in groupby(self.calls, key=lambda call: call[0])]

    @property
    def modules(self) -> int:
        return len({module for module, _ in self.calls})

    @property
    def returns(self) -> int:
        return len(self.changes) - self.modules

    def __str__(self) -> str:
        return f"{self.modules} modules, {len(self.changes)} changes of module, {self.returns} of them returns"


class Recorder:
    """Records the calls and returns of functions, by thread, while it is on.

    Args:
        within: the packages or modules that count, with all that is in them.
    """

    def __init__(self, within: Sequence[str] = OURS) -> None:
        self._within = tuple(f"{name}." for name in within)
        self.events: defaultdict[int, list[Event]] = defaultdict(list)

    def on(self) -> None:
        """Begin: in this thread, and in those that are started from now on."""
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def off(self) -> None:
        """End, in this thread."""
        sys.setprofile(None)
        threading.setprofile(None)

    def last(self, first: Callable[..., Any], until: Callable[..., Any] | None = None) -> Walk:
        """What the last call of `first` led through, to its own return or, where given, to that of `until`."""
        for events in self.events.values():
            starts = [at for at, (is_call, code, _) in enumerate(events) if is_call and code is first.__code__]
            if starts:
                return Walk(list(_named_calls(events[starts[-1] :], (until or first).__code__)))
        raise LookupError(f"{first.__qualname__} was never called")

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        module = frame.f_globals.get("__name__", "")
        if event in ("call", "return") and f"{module}.".startswith(self._within):
            self.events[threading.get_ident()].append((event == "call", frame.f_code, module))


def _named_calls(events: Sequence[Event], until: CodeType) -> Iterator[Call]:
    depth = 0
    for is_call, code, module in events:
        depth += 1 if is_call else -1
        if is_call and "<" not in code.co_qualname:
            yield module, code.co_qualname
        if not is_call and (code is until or depth == 0):
            return


@contextmanager
def _worker() -> Iterator[None]:
    """A worker in a thread of this process, ready."""
    ready = threading.Event()

    def note_ready(**_: Any) -> None:
        ready.set()

    signals.worker_ready.connect(note_ready)
    arguments = ["worker", "--concurrency", "1", "--quiet"]

    def work() -> None:
        with suppress(SystemExit):  # as it ends a process
            commands.main(arguments, standalone_mode=False)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    if not ready.wait(READY_SECONDS):
        raise TimeoutError(f"the worker is not ready within {READY_SECONDS:.0f} s")
    try:
        yield
    finally:
        celery_worker.should_stop = os.EX_OK
        thread.join(READY_SECONDS)


def _make(folder: Path, count: int) -> None:
    """Submit a list of so many lines, and wait until all of it is made."""
    prompts = folder / f"{count}.txt"
    prompts.write_text("".join(f"A lighthouse, number {number}\n" for number in range(count)), encoding="utf-8")
    said = StringIO()
    with redirect_stdout(said):
        arguments = ["submit", str(prompts), "-m", "qwen/qwen-image", "-o", str(folder / "files" / str(count))]
        commands.main(arguments, standalone_mode=False)
    list(Batch.get(said.getvalue().split()[-1]))


def walks() -> dict[str, Walk]:
    """Trace one attempt and one line; by those names."""
    recorder = Recorder()
    with tempfile.TemporaryDirectory(prefix="rb-") as name, chdir(name):
        folder = Path(name)
        redis = RedisServer(folder, durable=True)
        sandbox = SandboxSettings(latency_seconds=PREDICTION_SECONDS, long_edge_pixels=64)
        try:
            with Sandbox(sandbox) as replicate:
                environment = {
                    "REPLICATE_BASE_URL": replicate.url,
                    "REPLICATE_API_TOKEN": "r8_of_the_walk",
                    "REPLIBATCH_REDIS_URL": redis.url,
                    "REPLIBATCH_STORAGE_URL": str(folder / "files"),
                    "REPLIBATCH_STATE_DIR": str(folder / "state"),
                }
                with patch.dict(os.environ, environment):
                    recorder.on()
                    try:
                        with _worker():
                            open_producer().present()  # as `run` does, for its status line
                            _make(folder, 1)
                            line = recorder.last(Enqueuer.append, until=Jobs.published)
                            _make(folder, 3)
                    finally:
                        recorder.off()
        finally:
            redis.stop()
    return {"attempt": recorder.last(generate), "line": line}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.walk", description="The walk of an attempt and of a line.")
    parser.add_argument("--trace", action="store_true", help="print each change of module")
    asked = parser.parse_args()
    for name, walk in walks().items():
        print(f"{name}: {walk}")
        seen: set[str] = set()
        for number, (module, function) in enumerate(walk.changes if asked.trace else (), 1):
            print(f"{number:5} {'↩' if module in seen else ' '} {module:42} {function}")
            seen.add(module)


if __name__ == "__main__":
    main()
