"""`replibatch worker`: the Celery worker with the pool and the settings this queue needs."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import replibatch
from replibatch.errors import SettingsError

if TYPE_CHECKING:
    from replibatch.cli.logs import LogFormat
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
@click.option(
    "--log-format",
    type=click.Choice(["lines", "json"]),
    default="lines",
    show_default=True,
    help="Lines for people, or one JSON object a line.",
)
def worker(concurrency: int, quiet: bool, verbose: bool, log_format: LogFormat) -> None:
    """Work on what is queued, until SIGTERM or Ctrl-C.

    Start as many as there are machines: the account's limits hold over all of them. What one has in flight
    when it is stopped, or dies, the others take over.
    """
    import logging  # noqa: PLC0415  # here, and below: a producer's commands need none of this
    import warnings  # noqa: PLC0415

    from celery import signals  # noqa: PLC0415
    from celery.exceptions import SecurityWarning  # noqa: PLC0415

    from replibatch import local  # noqa: PLC0415
    from replibatch.cli import logs  # noqa: PLC0415

    local.watch_parent()
    warnings.simplefilter("ignore", SecurityWarning)  # of root, as in a container: nothing here reads pickle
    logs.configure(
        log_format,
        level=logging.WARNING if quiet else logging.INFO,
        others=logging.INFO if verbose else logging.WARNING,
    )
    app = _own_workers_app()
    if app.settings.replicate_api_token is None:
        raise SettingsError("REPLICATE_API_TOKEN is not set; a worker needs the account's token")
    _await_redis(app.settings, app.redis_url)
    for pool in ("redis_max_connections", "broker_pool_limit"):
        app.app.conf[pool] = concurrency + app.CONNECTIONS_TO_SPARE
    signals.setup_logging.connect(lambda **_: None, weak=False)  # Celery leaves logging alone
    signals.worker_ready.connect(lambda **_: _say_ready(app.settings, concurrency), weak=False)
    sys.exit(app.app.worker_main(_celery_arguments(concurrency, verbose=verbose)))


def _celery_arguments(concurrency: int, *, verbose: bool) -> list[str]:
    node = f"replibatch-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}@%h"
    return [
        *("--quiet", "worker", "--pool", "threads", "--concurrency", str(concurrency), "--hostname", node),
        *("--without-mingle", "--without-gossip", "--loglevel", "INFO" if verbose else "WARNING"),
    ]


def _own_workers_app() -> Any:
    """The module `workers.app` of this installation, whatever `workers` the working directory may hold."""
    home = Path(replibatch.__file__).parent.parent / "workers"
    spec = spec_from_file_location("workers", home / "__init__.py", submodule_search_locations=[str(home)])
    if spec is None or spec.loader is None or not home.is_dir():
        raise SettingsError(f"the package `workers` is missing from {home.parent}; install replibatch again")
    package = sys.modules["workers"] = module_from_spec(spec)
    spec.loader.exec_module(package)
    return import_module("workers.app")


def _await_redis(settings: Settings, url: str) -> None:
    """Wait for a Redis that is still being started, and say so."""
    import structlog  # noqa: PLC0415
    from redis.exceptions import RedisError  # noqa: PLC0415

    from replibatch.cli.account import redis_address  # noqa: PLC0415
    from replibatch.connection import connect  # noqa: PLC0415
    from replibatch.workshop import PATIENCE_SECONDS  # noqa: PLC0415

    try:
        connect(url).ping()
    except RedisError as error:
        log = structlog.get_logger("replibatch")
        log.warning("waiting for redis", redis=redis_address(settings), error=str(error))
        connect(url, patience_seconds=PATIENCE_SECONDS).ping()


def _say_ready(settings: Settings, concurrency: int) -> None:
    import structlog  # noqa: PLC0415

    from replibatch.cli.account import redis_address  # noqa: PLC0415

    structlog.get_logger("replibatch").info(
        "ready", account=settings.account_key, concurrency=concurrency, redis=redis_address(settings)
    )
