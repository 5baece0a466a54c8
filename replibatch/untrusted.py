"""What a web user sent, as a request: bounded, with no path, reference or secret of this machine in it."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import Any

from replibatch.errors import OutputPathError, RequestError, UnsupportedModel

FIELDS = ("prompt", "model_name", "output_filepath", "kwargs", "request_id")
LARGEST_BYTES = 1_000_000  # of the whole, as JSON
LONGEST_PROMPT = 20_000  # characters
LONGEST_NAME = 200  # characters: of an output, an id, an input
MOST_INPUTS = 100
DEEPEST = 8
LARGEST_NUMBER = 2**53  # past that, JSON means another number to every reader
OF_THE_MACHINE = re.compile(r"\s*(file:|env:)", re.IGNORECASE)  # what stands for a file or a secret of the fleet


def arguments(data: Any, *, models: Collection[str], folder: str | None, namespace: str | None) -> dict[str, Any]:
    """The arguments of a `BatchRequest` from data that an outside user sent.

    Args:
        data: decoded from JSON.
        models: those that may be named.
        folder: where the file goes, and stays; None for the names that replibatch makes up in its own place.
        namespace: of the sender, such as a user's id: equal `request_id`s of other senders are other jobs.

    Raises:
        RequestError: it is not what a web user may ask for; says what.
    """
    if not isinstance(data, Mapping):
        raise RequestError(f"the request is {_kind(data)}; expected: an object")
    if unknown := [str(name)[:40] for name in data if name not in FIELDS]:
        raise RequestError(f"the request has {unknown[0]!r}; expected: {', '.join(FIELDS)}")
    _check_size(data)
    model, prompt = data.get("model_name"), data.get("prompt")
    if not isinstance(model, str) or model not in models:
        raise UnsupportedModel(f"model_name is {_shown(model)}; expected: one of {', '.join(sorted(models))}")
    if prompt is not None and (not isinstance(prompt, str) or len(prompt) > LONGEST_PROMPT):
        raise RequestError(f"prompt is {_kind(prompt)}; expected: a text of at most {LONGEST_PROMPT:,} characters")
    inputs = data.get("kwargs")
    if inputs is not None and (not isinstance(inputs, Mapping) or len(inputs) > MOST_INPUTS):
        raise RequestError(f"kwargs is {_kind(inputs)}; expected: an object of at most {MOST_INPUTS} inputs")
    for name, value in (("prompt", prompt), *(inputs or {}).items()):
        _check_value(str(name)[:LONGEST_NAME], value, 0)
    return {
        "prompt": prompt,
        "model_name": model,
        "output_filepath": _output(data.get("output_filepath"), folder),
        "kwargs": dict(inputs or {}),
        "request_id": _request_id(data.get("request_id"), namespace, folder),
        "within": folder,
        "local_files": False,
    }


def _check_size(data: Mapping[str, Any]) -> None:
    try:
        size = len(json.dumps(data))
    except (TypeError, ValueError, RecursionError):
        raise RequestError("the request is not JSON; expected: texts, numbers, lists and objects") from None
    if size > LARGEST_BYTES:
        raise RequestError(f"the request has {size:,} bytes; expected: at most {LARGEST_BYTES:,}")


def _check_value(name: str, value: Any, depth: int) -> None:
    if depth > DEEPEST:
        raise RequestError(f"{name!r} is nested too deep; expected: at most {DEEPEST} levels")
    if isinstance(value, Mapping | list):
        for each in (*value, *value.values()) if isinstance(value, Mapping) else value:
            _check_value(name, each, depth + 1)
    elif isinstance(value, str):
        if OF_THE_MACHINE.match(value):
            raise RequestError(f"{name!r} is {_shown(value)}; expected: nothing that begins with 'file:' or 'env:'")
    elif isinstance(value, bool) or value is None:
        pass
    elif isinstance(value, int | float):
        if not (math.isfinite(value) and abs(value) <= LARGEST_NUMBER):
            raise RequestError(f"{name!r} is no number that can be sent; expected: at most {LARGEST_NUMBER}")
    else:
        raise RequestError(f"{name!r} is {_kind(value)}; expected: a JSON value")


def _output(name: Any, folder: str | None) -> str | None:
    if name is None:
        return None
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        words = f"output_filepath is {_kind(name)}; expected: a name of at most {LONGEST_NAME} characters"
        raise OutputPathError(words)
    parts = PurePosixPath(name).parts
    is_odd = any(unicodedata.category(each)[0] == "C" or each in ':\\*?"<>|' for each in name)
    if is_odd or not parts or any(part.startswith((".", "/")) for part in parts):
        words = f"output_filepath is {_shown(name)}; expected: a name inside the folder, without '.' first"
        raise OutputPathError(words)
    key = "/".join(parts)
    return f"{folder.rstrip('/')}/{key}" if folder else key


def _request_id(given: Any, namespace: str | None, folder: str | None) -> str | None:
    """Never one that the application itself, or another of its users, may have given."""
    if given is None:
        return None
    if not isinstance(given, str) or not 0 < len(given) <= LONGEST_NAME:
        raise RequestError(f"request_id is {_kind(given)}; expected: a text of at most {LONGEST_NAME} characters")
    return json.dumps(["untrusted", namespace if namespace is not None else folder or "", given])


def _kind(value: Any) -> str:
    return f"a text of {len(value):,} characters" if isinstance(value, str) else f"a {type(value).__name__}"


def _shown(value: Any) -> str:
    text = ascii(value) if isinstance(value, str) else _kind(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
