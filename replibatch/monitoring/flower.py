"""Flower, from its options to its end."""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
from collections.abc import Sequence

import structlog
from celery import Celery
from flower.command import apply_env_options, apply_options, is_flower_envvar
from flower.options import options
from flower.utils import strtobool
from tornado.options import Error as OptionError

from replibatch.broker.app import celery_url
from replibatch.errors import SettingsError
from replibatch.monitoring import flower_internals
from replibatch.producer import Producer

log = structlog.get_logger(__name__)

ADDRESS = "127.0.0.1"
TASKS_KEPT = 10_000  # 7.5 KB each; Flower's own default is ten times as many
COLUMNS = "name,state,retries,received,runtime,exception,worker"
PREFIX = "FLOWER_"
UNREACHABLE = {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES}
KINDS = {int: "a whole number", float: "a number", bool: "true or false"}


def run(producer: Producer, arguments: Sequence[str]) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        producer: the process's.
        arguments: Flower's own options, as `--port=8888`.

    Raises:
        SettingsError: one of Flower's options is not usable.
    """
    read_options(arguments)
    log.info(
        "flower",
        address=options.unix_socket or f"{options.address or '*'}:{options.port}",
        page="/replibatch",
        account=producer.settings.account_key,
        authentication="password" if options.basic_auth else options.auth_provider or "none",
    )
    try:
        from replibatch.monitoring.page import extend  # noqa: PLC0415  # what it needs of Flower may have moved

        extend(producer)
    except (ImportError, AttributeError, KeyError) as error:
        log.warning("this version of Flower is served without the page of the account", why=str(error))
    # Flower knows the brokers by their usual names; it consumes no generation, so kombu's own transport does.
    producer.app.conf.update(broker_url=celery_url(producer.redis_url), broker_transport=None)
    serve(producer.app, arguments)


def read_options(arguments: Sequence[str]) -> None:
    """Read Flower's options with our defaults below them, and warn of a door that stands open.

    Raises:
        SettingsError: an option is not usable.
    """
    options.address, options.max_tasks, options.tasks_columns = ADDRESS, TASKS_KEPT, COLUMNS
    options.logging = "warning"
    options.conf = os.devnull  # its default is Python code from the working directory, where anybody's files lie
    if os.environ.get("FLOWER_BASIC_AUTH") == "":
        raise SettingsError("FLOWER_BASIC_AUTH is empty; allowed: user:password, or not to be set at all")
    for name in [name for name, value in os.environ.items() if name.startswith(PREFIX) and value == ""]:
        del os.environ[name]  # an empty value is an unset one
    for name in filter(is_flower_envvar, os.environ):
        _check_variable(name)
    apply_env_options()
    try:
        apply_options("flower", list(arguments))
    except (OptionError, ValueError, OSError) as error:
        raise SettingsError(f"Flower's options: {error}") from None
    for login in options.basic_auth or []:
        if not login.isascii() or not all(login.partition(":")):
            raise SettingsError(
                "FLOWER_BASIC_AUTH is not usable (not shown: it is a secret); allowed: user:password of ASCII "
                "characters, several with commas between them"
            )
    if not _is_local() and not options.basic_auth and not options.auth:
        log.warning(
            f"Flower listens on {options.address or 'every address'} without authentication: anyone who reaches port "
            f"{options.port} sees prompts and pictures. Set FLOWER_BASIC_AUTH=user:password, "
            f"or FLOWER_ADDRESS={ADDRESS}",
        )


def _check_variable(name: str) -> None:
    key = name.removeprefix(PREFIX).lower()
    option = flower_internals.option(key)
    value = os.environ[name]
    if option.type not in KINDS:
        return
    convert = strtobool if option.type is bool else option.type
    try:
        for part in value.split(",") if option.multiple else [value]:
            convert(part)
    except ValueError:
        raise SettingsError(f"{name} is {value!r}; allowed: {KINDS[option.type]}") from None


def _is_local() -> bool:
    """Whether only this machine can reach it."""
    if options.unix_socket or options.address == "localhost":
        return True
    try:
        return ipaddress.ip_address(options.address).is_loopback
    except ValueError:  # a name, or none: every address
        return False


def serve(app: Celery, arguments: Sequence[str]) -> None:
    """Run Flower.

    Raises:
        SettingsError: it cannot listen at the given address.
    """
    logging.getLogger("flower.inspector").setLevel(logging.ERROR)  # it warns each time no worker answers
    try:
        app.start(["--quiet", "flower", *arguments])
    except OSError as error:
        if error.errno not in UNREACHABLE:
            raise
        where = f"{options.address}:{options.port}"
        raise SettingsError(f"FLOWER_ADDRESS, FLOWER_PORT: cannot listen on {where}: {error.strerror}") from None
