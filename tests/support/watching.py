"""A worker process' watcher, for tests."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from replibatch.polling import Watcher
from replibatch.polling.peers import Peers
from replibatch.replicate_api import Prediction, ReplicateAPI
from replibatch.sandbox import Sandbox
from tests.support.account import Reads, account, create, inputs
from tests.support.catalogue import FLUX
from tests.support.sandbox_caller import wait_for


class Worker:
    """One worker process' client and watcher, what it has seen end, and how late (seconds)."""

    def __init__(self, sandbox: Sandbox, reads_per_second: float = 50.0, peers: Peers | None = None) -> None:
        self.sandbox = sandbox
        self.seen: list[Prediction] = []
        self.delays: list[float] = []
        self._stack = ExitStack()
        self.own_reads = Reads()
        self.api: ReplicateAPI = self._stack.enter_context(account(sandbox.url, await_read=self.own_reads))
        self.watcher = Watcher(self.api, reads_per_second, peers=peers)

    def __enter__(self) -> Worker:
        self.watcher.start()
        self._stack.callback(self.watcher.stop)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def on_end(self, prediction: Prediction) -> None:
        assert prediction.completed_at is not None
        self.delays.append(time.time() - prediction.completed_at.timestamp())
        self.seen.append(prediction)

    def create(self, prompt: str = "a fox", model: str = FLUX) -> Prediction:
        return create(self.api, model, inputs(prompt), 600)

    def create_many(self, count: int) -> list[Prediction]:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda number: self.create(f"p{number}"), range(count)))

    def watch(self, prediction: Prediction | str, typical_seconds: float = 0.15, model: str = FLUX) -> None:
        self.watcher.watch(prediction, model, typical_seconds, self.on_end)

    def run(self, count: int, typical_seconds: float = 0.15) -> None:
        """Create and watch one after the other, each as soon as the one before was seen to end."""
        for number in range(count):
            before = len(self.seen)
            self.watch(self.create(f"p{number}"), typical_seconds)
            wait_for(lambda before=before: len(self.seen) > before, 10)  # type: ignore[misc]

    def keep_in_flight(self, slots: int, total: int, typical_seconds: float) -> None:
        """Keep so many in flight until `total` have ended: a slot is used again once its end was seen."""
        free = threading.Semaphore(slots)

        def on_end(prediction: Prediction) -> None:
            self.on_end(prediction)
            free.release()

        for number in range(total):
            free.acquire()
            self.watcher.watch(self.create(f"p{number}"), FLUX, typical_seconds, on_end)
        wait_for(lambda: len(self.seen) == total, 10)

    @property
    def reads(self) -> int:
        """All that the stand-in was asked, by anybody."""
        return sum(self.sandbox.books.reads_by_kind.values())
