"""Keeps the scripts in Redis, for producers without the right to load them."""

from __future__ import annotations

import threading

import structlog
from redis import Redis
from redis.exceptions import RedisError

from replibatch.redisdb.scripts import LOADED_SECONDS, load_all

log = structlog.get_logger(__name__)


class ScriptLoader:
    """A thread that loads the scripts again after a restart of Redis.

    Args:
        redis: the worker's client.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="script-loader", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                load_all(self._redis)
            except RedisError as error:
                log.debug("scripts not loaded", error=str(error))
            self._stopping.wait(LOADED_SECONDS / 3)
