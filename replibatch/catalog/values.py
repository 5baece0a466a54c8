"""Values made to fit a type: text from a list of prompts or a command line is read as what the type asks for."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
from collections.abc import Callable
from typing import Any

TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
MOST_DIGITS = 400  # of a number given as text; a longer one is no number anybody means
MOST_DEPTH = 32  # of lists and objects within each other
ENVIRONMENT_NAME = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
KINDS = {
    "string": "text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "uri": "a path, an http(s) URL or a data URI",
    "secret": "env:NAME, the environment variable of the workers that holds it",
    "array": "a list",
    "object": 'an object, as in {"key": "value"}',
    "any": "any JSON value",
}


def fit(kind: str, value: Any) -> Any:
    """The value as a `kind`.

    Args:
        kind: one of `KINDS`, except `array`.
        value: what was given.

    Raises:
        ValueError: it is none.
    """
    return _FITTING[kind](value)


def is_exactly(kind: str, value: Any) -> bool:
    """Whether a value is of a kind as it stands, without conversion."""
    if isinstance(value, bool) or kind == "any":
        return kind in ("boolean", "any")
    return isinstance(value, _TYPES.get(kind, str)) and not (isinstance(value, float) and not math.isfinite(value))


def listed(value: Any) -> list[Any]:
    """A list of what was given: itself, the JSON list that a text holds, or one element."""
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, str) and value.lstrip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):  # a file may be named so
            return list(json.loads(value))
    return [value]


def checked_json(value: Any, depth: int = 0) -> Any:
    """The same value where it can be sent as JSON: tuples as lists, and no numbers that JSON has no word for.

    Raises:
        ValueError: it holds anything else, or is nested too deep.
    """
    if depth > MOST_DEPTH:
        raise ValueError
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return _number(value, whole=False)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list | tuple):
        return [checked_json(item, depth + 1) for item in value]
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {name: checked_json(item, depth + 1) for name, item in value.items()}
    raise ValueError


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else None
    if word in TRUE or word in FALSE:
        return word in TRUE
    raise ValueError


def _number(value: Any, *, whole: bool) -> int | float:
    if isinstance(value, str):
        if len(value) > MOST_DIGITS:
            raise ValueError
        value = json.loads(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError
    if not whole:
        return value
    if value != int(value):
        raise ValueError
    return int(value)


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except RecursionError:
            raise ValueError from None
    if not isinstance(value, dict):
        raise ValueError
    found: dict[str, Any] = checked_json(value)
    return found


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError


def _place(value: Any) -> str:
    return os.fspath(value) if isinstance(value, os.PathLike) else _text(value)


def _secret(value: Any) -> str:
    if ENVIRONMENT_NAME.fullmatch(_text(value)):
        return str(value)
    raise ValueError


_TYPES: dict[str, Any] = {
    "boolean": bool,
    "integer": int,
    "number": int | float,
    "object": dict,
    "array": list | tuple,
}
_FITTING: dict[str, Callable[[Any], Any]] = {
    "string": _text,
    "integer": lambda value: _number(value, whole=True),
    "number": lambda value: _number(value, whole=False),
    "boolean": _boolean,
    "uri": _place,
    "secret": _secret,
    "array": lambda value: checked_json(listed(value)),
    "object": _object,
    "any": checked_json,
}
