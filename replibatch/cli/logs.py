"""What a worker says: lines for people, or JSON for machines, all of it on stderr."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, Literal

import structlog

LogFormat = Literal["lines", "json"]


def configure(log_format: LogFormat, *, level: int, others: int) -> None:
    """Set up structlog, and hand it what libraries log.

    Args:
        log_format: `lines`, or `json`: an object a line.
        level: the least that is shown of our own.
        others: the same for libraries.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso" if log_format == "json" else "%H:%M:%S", utc=log_format == "json"),
        structlog.processors.format_exc_info if log_format == "json" else structlog.processors.StackInfoRenderer(),
    ]
    renderer = structlog.processors.JSONRenderer(ensure_ascii=False) if log_format == "json" else _for_people()
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=others, handlers=[handler], force=True)


def _for_people() -> structlog.dev.ConsoleRenderer:
    colors = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    return structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=24)
