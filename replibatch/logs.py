"""Logs of a worker and of Flower, on stderr: lines for people, or JSON for machines."""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from typing import Any, Literal

import structlog

LogFormat = Literal["lines", "json"]


def configure(log_format: LogFormat, *, level: int, others: int) -> None:
    """Set up structlog, and hand it the libraries' logs, warnings and uncaught errors of threads.

    Args:
        log_format: `lines`, or `json`: an object a line.
        level: the least that is shown of our own.
        others: the same for libraries.
    """
    is_json = log_format == "json"
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso" if is_json else "%H:%M:%S", utc=is_json),
        structlog.processors.format_exc_info if is_json else structlog.processors.StackInfoRenderer(),
    ]
    renderer = structlog.processors.JSONRenderer(ensure_ascii=False, default=str) if is_json else _for_people()
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=others, handlers=[handler], force=True)
    warnings.showwarning = _log_warning
    threading.excepthook = _log_death


def _for_people() -> structlog.dev.ConsoleRenderer:
    colors = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    # The pretty tracebacks show every local variable, secrets among them.
    return structlog.dev.ConsoleRenderer(
        colors=colors, pad_event_to=24, exception_formatter=structlog.dev.plain_traceback
    )


def _log_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    structlog.get_logger("replibatch").warning(" ".join(str(message).split()), category=category.__name__)


def _log_death(died: threading.ExceptHookArgs) -> None:
    name = died.thread.name if died.thread else "unknown"
    structlog.get_logger("replibatch").error("a thread died", thread=name, exc_info=died.exc_value)
