"""`replibatch worker`: the Celery worker with the pool and the settings this queue needs."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import warnings
from typing import Any

import click
import structlog
from celery import signals
from celery.apps import worker as celery_worker
from celery.exceptions import SecurityWarning

from replibatch import embedded, logs
from replibatch.cli.metrics_port import serve_metrics
from replibatch.cli.options import log_format
from replibatch.logs import LogFormat
from replibatch.settings import Settings


@click.command()
@click.option(
    "--concurrency",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    metavar="N",
    help="Generations this process works on at a time.",
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but warnings.")
@click.option("-v", "--verbose", is_flag=True, help="Show what Celery says, too.")
@log_format
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65_535),
    metavar="PORT",
    help="Tell Prometheus of this process's work, on every address.",
)
def worker(concurrency: int, quiet: bool, verbose: bool, log_format: LogFormat, metrics_port: int | None) -> None:
    """Work on the queue until SIGTERM or Ctrl-C.

    Start as many as there are machines: the account's limits hold over every machine. When one stops or dies,
    the others take over its predictions.
    """
    embedded.watch_parent()
    warnings.simplefilter("ignore", SecurityWarning)  # of root, as in a container: nothing here reads pickle
    logs.configure(
        log_format,
        level=logging.WARNING if quiet else logging.INFO,
        others=logging.INFO if verbose else logging.WARNING,
    )

    from replibatch.worker import app, lifecycle  # noqa: PLC0415  # importing the app reads the settings

    if metrics_port is not None:
        serve_metrics(metrics_port)
    celery_worker.safe_say = lambda *_: None  # its words at a signal would stand among ours in neither format
    signals.worker_shutting_down.connect(_say_stopping, weak=False)
    signals.worker_ready.connect(lambda **_: _say_ready(app.settings, concurrency), weak=False)
    app.app.worker_main(_celery_arguments(concurrency, verbose=verbose))
    sys.exit(lifecycle.exit_code())  # Celery keeps it to itself


def _celery_arguments(concurrency: int, *, verbose: bool) -> list[str]:
    node = f"replibatch-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}@%h"
    return [
        *("--quiet", "worker", "--pool", "threads", "--concurrency", str(concurrency), "--hostname", node),
        *("--without-mingle", "--without-gossip", "--loglevel", "INFO" if verbose else "WARNING"),
    ]


def _say_ready(settings: Settings, concurrency: int) -> None:
    structlog.get_logger("replibatch").info(
        "ready", account=settings.account_key, concurrency=concurrency, redis=settings.redis_address
    )


def _say_stopping(sig: str, **_: Any) -> None:
    structlog.get_logger("replibatch").info("stopping", signal=sig)
