"""The worker's Celery app: one account's queue, threads, early acknowledgement.

Custody in the records is the reliable layer, so a message is acknowledged before it is worked on: the worker then
survives Redis being away, and the broker delivers nothing twice.
"""

from __future__ import annotations

import os
import socket

from celery import Celery

from replibatch import embedded
from replibatch.broker.app import make_app
from replibatch.limits.process import explicit_limits
from replibatch.settings import Settings, load
from replibatch.worker.events import PacedEvents

CONNECTIONS = 1  # that publish: the threads that publish take turns


def make_worker_app(settings: Settings, redis_url: str) -> Celery:
    """The app, with what a worker needs on top of what a producer has."""
    app = make_app(settings, redis_url, connections=CONNECTIONS)
    app.conf.update(
        worker_pool="threads",
        worker_concurrency=embedded.DEFAULT_CONCURRENCY,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        task_acks_late=False,
        task_track_started=False,  # STARTED is set once custody is taken
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        imports=["replibatch.worker.tasks", "replibatch.worker.control"],
        task_send_sent_event=False,  # of a batch's next, which are received within moments
    )
    app.steps["consumer"].add(PacedEvents)
    return app


settings = load()
redis_url = settings.redis_url.get_secret_value() if settings.redis_url else embedded.attach(settings)
is_own = embedded.PARENT_DESCRIPTOR in os.environ  # of one command, or one script
is_embedded = settings.redis_url is None or is_own
report = {"host": socket.gethostname(), "pid": os.getpid(), **explicit_limits(settings)}
app = make_worker_app(settings, redis_url)
