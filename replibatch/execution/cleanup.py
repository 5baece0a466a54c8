"""The cleanup thread: one thread a worker process that keeps the storage in order."""

from __future__ import annotations

import threading
import time

import structlog
from redis.exceptions import RedisError

from replibatch.execution.context import WorkerContext
from replibatch.storage.names import IDENTITY

log = structlog.get_logger(__name__)

REMOVAL_SECONDS = 3600  # once in a while for the whole fleet
MARGIN_SECONDS = 24 * 3600  # a request may name a file its process had kept a while before


class Cleanup:
    """Removes reference images nobody can need any more, and puts the storage's identity back where it was deleted.

    Args:
        context: the process's context.
        identity: the storage's, as this worker has told the others; None in embedded mode.
        round_seconds: how often it looks.
    """

    def __init__(self, context: WorkerContext, identity: str | None, *, round_seconds: float = 60.0) -> None:
        self._context = context
        self._round_seconds = round_seconds
        self._identity = identity
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cleanup", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._thread.join(1)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._make_rounds()
            except (RedisError, OSError) as error:
                log.warning("the storage was not looked after", error=str(error))
            except Exception:  # the next round may go better
                log.exception("unexpected")
            self._stopping.wait(self._round_seconds)

    def _make_rounds(self) -> None:
        context = self._context
        if self._identity and context.storage.mark(self._identity) != self._identity:
            log.warning(
                "another storage stands in the place of the one this worker began with; start all workers again, or "
                f"put the old one back with its {IDENTITY}",
                storage=context.storage.where,
            )
        mine = context.redis.set(
            f"{context.jobs.prefix}inputs:removing", context.process, nx=True, ex=REMOVAL_SECONDS
        )
        if mine and (removed := context.storage.remove_inputs(self._unused_seconds())):
            log.info("reference images removed", count=removed)

    def _unused_seconds(self) -> float:
        """A file last kept longer ago than this is named by no record: no batch, no job on its way, no result."""
        context, now = self._context, time.time()
        oldest = min(context.batches.oldest_opened(), context.jobs.oldest_asked(), now)
        return max(context.settings.keep_seconds, now - oldest) + MARGIN_SECONDS
