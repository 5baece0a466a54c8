"""The cleanup thread: one thread a worker process that keeps the storage in order."""

from __future__ import annotations

import time

import structlog

from replibatch.execution.context import WorkerContext
from replibatch.redisdb import keys
from replibatch.redisdb.loop import Loop
from replibatch.storage.names import IDENTITY

log = structlog.get_logger(__name__)

REMOVAL_SECONDS = 3600  # once in a while for the whole fleet
MARGIN_SECONDS = 24 * 3600  # a request may name a file its process had kept a while before


class Cleanup:
    """Removes reference images that no request can need any more; puts a deleted identity of the storage back.

    Args:
        context: the process's context.
        identity: the storage's, as this worker reported it to the others; None in embedded mode.
        round_seconds: the pause between two rounds.
    """

    def __init__(self, context: WorkerContext, identity: str | None, *, round_seconds: float = 60.0) -> None:
        self._context = context
        self._round_seconds = round_seconds
        self._identity = identity
        self._loop = Loop("cleanup", self._step, away_seconds=round_seconds)

    def start(self) -> None:
        """Begin."""
        self._loop.start()

    def stop(self) -> None:
        """End."""
        self._loop.stop(1)

    def _step(self) -> float:
        try:
            self._make_rounds()
        except OSError as error:
            log.warning("could not clean up the storage", error=str(error))
        return self._round_seconds

    def _make_rounds(self) -> None:
        context = self._context
        if self._identity and context.storage.mark(self._identity) != self._identity:
            log.warning(
                "another storage stands in the place of the one this worker began with; start all workers again, or "
                f"put the old one back with its {IDENTITY}",
                storage=context.storage.where,
            )
        mine = context.redis.set(keys.REMOVING.at(context.jobs.prefix), context.process, nx=True, ex=REMOVAL_SECONDS)
        if mine and (removed := context.storage.remove_inputs(self._unused_seconds())):
            log.info("reference images removed", count=removed)

    def _unused_seconds(self) -> float:
        """The age from which no record can name a file any more: no batch, no job on its way, no result."""
        context, now = self._context, time.time()
        oldest = min(context.batches.oldest_opened(), context.jobs.oldest_asked(), now)
        return max(context.settings.keep_seconds, now - oldest) + MARGIN_SECONDS
