"""Logs of a worker and of Flower, on stderr: lines for people, or JSON for machines."""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

from replibatch.foreign_text import visible

LONGEST_TEXT = 10_000  # characters of one value

LogFormat = Literal["lines", "json"]


def configure(log_format: LogFormat, *, level: int, others: int) -> None:
    """Set up structlog, and hand it the libraries' logs, warnings and uncaught errors of threads.

    Args:
        log_format: `lines`, or `json`: an object a line.
        level: the least that is shown of our own.
        others: the same for libraries.
    """
    is_json = log_format == "json"
    # Colours are ours: where the command line guards its streams, they go to the one beneath.
    stream = getattr(sys.stderr, "guarded", sys.stderr)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso" if is_json else "%H:%M:%S", utc=is_json),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _visible,
    ]
    renderer = structlog.processors.JSONRenderer(ensure_ascii=False, default=str) if is_json else _for_people()
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _visible, renderer],
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


def _visible(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What others wrote acts on no terminal, and passes for no line of ours."""
    for key, value in event.items():
        if not isinstance(value, str):
            continue
        text = visible(value) if len(value) <= LONGEST_TEXT else f"{visible(value[:LONGEST_TEXT])}…"
        joint = "\n    " if key in ("exception", "stack") else "\\n"
        event[key] = joint.join(text.splitlines()) if "\n" in text else text
    return event


def _log_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    structlog.get_logger("replibatch").warning(" ".join(str(message).split()), category=category.__name__)


def _log_death(died: threading.ExceptHookArgs) -> None:
    name = died.thread.name if died.thread else "unknown"
    structlog.get_logger("replibatch").error("a thread died", thread=name, exc_info=died.exc_value)
