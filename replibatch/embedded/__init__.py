"""Embedded mode: a Redis and a worker of one's own, where `REPLIBATCH_REDIS_URL` is not set.

The Redis is a real one, shared by every process of this user on this machine; the worker is this process's child.
Both end with the last process that uses them; the data stays.
"""

import atexit

from replibatch.embedded.attachment import attach, detach
from replibatch.embedded.worker import (
    DEFAULT_CONCURRENCY,
    PARENT_DESCRIPTOR,
    EmbeddedWorker,
    ensure_worker,
    start_worker,
    stop_workers,
    watch_parent,
)

__all__ = [
    "DEFAULT_CONCURRENCY",
    "PARENT_DESCRIPTOR",
    "EmbeddedWorker",
    "attach",
    "detach",
    "ensure_worker",
    "shutdown",
    "start_worker",
    "watch_parent",
]


@atexit.register
def shutdown() -> None:
    """Stop this process's workers, then let go of its Redis. Safe to repeat; the end of the process does it too."""
    stop_workers()
    detach()
