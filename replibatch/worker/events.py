"""Task events a few times a second instead of one by one: each flush is a message for Flower and other monitors."""

from __future__ import annotations

from typing import Any

from celery import bootsteps
from celery.worker.consumer.events import Events

FLUSH_SECONDS = 0.25
MOST_EVENTS = 250  # a fuller buffer is flushed at once


class PacedEvents(bootsteps.StartStopStep):
    """A step of the worker's consumer: takes the flushing from Celery's event loop."""

    requires = (Events,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._timer: Any = None

    def start(self, consumer: Any) -> None:
        """Flush on a timer."""
        dispatcher = consumer.event_dispatcher
        dispatcher.buffer_limit = MOST_EVENTS
        dispatcher.on_send_buffered = None
        self._timer = consumer.timer.call_repeatedly(FLUSH_SECONDS, dispatcher.flush)

    def stop(self, consumer: Any) -> None:
        """Send the rest."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if consumer.event_dispatcher:
            consumer.event_dispatcher.flush()
