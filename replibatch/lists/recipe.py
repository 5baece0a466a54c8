"""The steps of a list's items: `then` on a line, and a recipe for all lines in a TOML file.

[[step]]                       {"prompt": "a fox", "then": [
model = "owner/upscaler"           {"model": "owner/upscaler", "image": "OUTPUT"},
image = "OUTPUT"                   {"model": "owner/video", "prompt": "{prompt}, it moves",
                                    "start_image": "OUTPUT", "after": 1}]}
[[step]]
model = "owner/video"
…
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from replibatch.errors import RequestError
from replibatch.requests import BatchRequest
from replibatch.steps import read

OWN = ("model", "prompt", "after", "fallback", "max_price_usd", "inputs")
EXPECTED = 'an object with a model, as in {"model": "owner/name", "image": "OUTPUT"}, or a list of them'


def steps_of(value: Any) -> list[dict[str, Any]]:
    """The steps that a `then` names.

    Args:
        value: an object, a list of them, or either as JSON text, as a cell of a table holds it.

    Raises:
        RequestError: it is none of these.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise RequestError(f"then is {value[:80]!r}; expected: {EXPECTED}") from None
    steps = [value] if isinstance(value, Mapping) else value
    if not isinstance(steps, Sequence) or isinstance(steps, str) or not steps:
        raise RequestError(f"then is {str(value)[:80]!r}; expected: {EXPECTED}")
    for number, step in enumerate(steps, 2):
        if not isinstance(step, Mapping) or not isinstance(step.get("model"), str):
            raise RequestError(f"step {number}: {str(step)[:80]}; expected: {EXPECTED}")
    return [dict(step) for step in steps]


def read_recipe(path: Path) -> list[dict[str, Any]]:
    """The steps of a recipe file.

    Raises:
        RequestError: it cannot be read, or is no recipe.
    """
    try:
        recipe = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RequestError(
            f"--recipe {path}: {getattr(error, 'strerror', None) or error}; expected: a TOML file"
        ) from None
    if set(recipe) != {"step"}:
        found = ", ".join(sorted(recipe)) or "nothing"
        raise RequestError(f"--recipe {path}: found {found}; expected: [[step]] tables, and nothing else")
    try:
        return steps_of(recipe["step"])
    except RequestError as error:
        raise RequestError(f"--recipe {path}: {error}") from None


def with_steps(request: BatchRequest, steps: Sequence[Mapping[str, Any]], folder: Path) -> BatchRequest:
    """A request with the steps of a list or a recipe.

    Args:
        request: the first step; its prompt stands for `{prompt}` in theirs.
        steps: as `steps_of` gives them.
        folder: where relative paths in their inputs start.

    Raises:
        RequestError: naming the step.
    """
    for number, step in enumerate(steps, len(request.steps) + 2):
        inputs = read({name: value for name, value in step.items() if name not in OWN})
        more = step.get("inputs", {})
        if not isinstance(more, Mapping):
            raise RequestError(f"step {number}: inputs is {more!r}; expected: an object of inputs by name")
        prompt = step.get("prompt")
        if prompt is not None and not isinstance(prompt, str):
            raise RequestError(f"step {number}: prompt is {prompt!r}; expected: a text")
        inputs |= read(dict(more))
        try:
            request = request.then(
                step["model"],
                read(prompt.replace("{prompt}", request.prompt)) if prompt else None,
                after=step.get("after"),
                fallback=step.get("fallback"),
                max_price_usd=step.get("max_price_usd"),
                **{name: _located(value, folder) for name, value in inputs.items()},
            )
        except RequestError as error:
            text = str(error)
            raise RequestError(text if text.startswith("step ") else f"step {number}: {text}") from None
    return request


def _located(value: Any, folder: Path) -> Any:
    """A relative path of a file that is there, made absolute."""
    if isinstance(value, list):
        return [_located(each, folder) for each in value]
    if isinstance(value, str) and value and "\0" not in value and "\n" not in value and len(value) < 1024:
        try:
            if (folder / value).is_file():
                return str((folder / value).absolute())
        except OSError:
            return value
    return value
