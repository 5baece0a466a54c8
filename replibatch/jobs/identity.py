"""What an idempotency key stands for: a short digest of each part of a request, so that a difference has a name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from os import PathLike, fspath
from typing import Any

from replibatch.requests import BatchRequest

LONGEST = 40  # of a value that stands for itself


def identity(request: BatchRequest) -> str:
    """The parts of a request that decide its result, as JSON: short ones as they are, long ones as digests."""
    parts: dict[str, Any] = {"prompt": request.prompt, "model_name": request.model_name, **(request.kwargs or {})}
    if request.output_filepath is not None:
        parts["output_filepath"] = request.output_filepath
    if request.steps:
        parts["then"] = [asdict(step) for step in request.steps]
    return json.dumps({name: _short(value) for name, value in sorted(parts.items())}, separators=(",", ":"))


def differences(before: str, now: str) -> tuple[str, ...]:
    """The names of the parts in which two identities differ."""
    old, new = json.loads(before), json.loads(now)
    nothing = object()
    return tuple(name for name in sorted(old | new) if old.get(name, nothing) != new.get(name, nothing))


def _short(value: Any) -> str:
    text = json.dumps(value, default=_place, sort_keys=True, ensure_ascii=False)
    return text if len(text) <= LONGEST else "sha1:" + hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _place(value: Any) -> str:
    """What stands for a value that is no JSON: a path, an open file, an output."""
    if isinstance(value, PathLike):
        return str(fspath(value))
    return str(getattr(value, "url", None) or getattr(value, "path", None) or getattr(value, "name", None) or value)
