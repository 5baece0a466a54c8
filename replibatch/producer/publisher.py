"""Publishes the messages of work that is recorded; what could not be published while Redis was away is owed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from replibatch.broker.publish import publish
from replibatch.jobs import Jobs, Message
from replibatch.producer.unavailable import unavailable

if TYPE_CHECKING:
    from celery import Celery

AGAIN_SECONDS = 1.0  # between two tries to publish what is owed


class Publisher:
    """Messages of one account on their way to its queue. Thread-safe.

    Args:
        app: makes the account's Celery app, which is loaded with the first message.
        jobs: the records that the messages are of.
        address: of Redis, for messages to people.
    """

    def __init__(self, app: Callable[[], Celery], jobs: Jobs, address: str) -> None:
        self._app = app
        self._jobs = jobs
        self._address = address
        self._owed: list[Message] = []
        self._lock = threading.Lock()
        self._closed = False

    def publish(self, messages: Sequence[Message]) -> None:
        """As `broker.publish`.

        Args:
            messages: one or more.

        Raises:
            QueueUnavailable: Redis is away; they are published once it is back.
        """
        from kombu.exceptions import OperationalError  # noqa: PLC0415  # Celery's: loaded with the app

        try:
            publish(self._app(), self._jobs, messages)
        except (RedisError, OperationalError) as error:
            self._publish_later(messages)
            raise unavailable(error, self._address, accepted=True, job_id=messages[0].id) from error

    def close(self) -> None:
        """Try no more: a worker that finds no message for a record asks for one, too."""
        self._closed = True

    def _publish_later(self, messages: Sequence[Message]) -> None:
        with self._lock:
            is_first = not self._owed
            self._owed += messages
        if is_first:
            threading.Thread(target=self._publish_owed, name="replibatch-publisher", daemon=True).start()

    def _publish_owed(self) -> None:
        from kombu.exceptions import OperationalError  # noqa: PLC0415  # Celery's: loaded with the app

        while not self._closed:
            with self._lock:
                messages = list(self._owed)
            if not messages:
                return
            try:
                publish(self._app(), self._jobs, messages)
            except (RedisError, OperationalError):
                time.sleep(AGAIN_SECONDS)
                continue
            with self._lock:
                del self._owed[: len(messages)]
