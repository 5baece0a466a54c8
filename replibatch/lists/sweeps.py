"""`sweep`: every combination of models and inputs, as requests."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from replibatch.errors import RequestError
from replibatch.lists.naming import fit, with_axes
from replibatch.requests import BatchRequest


def sweep(request: BatchRequest, **varied: Iterable[Any]) -> Iterator[BatchRequest]:
    """Every combination of the values given, each a request of its own: `sweep(request, model=[…], seed=range(4))`.

    Args:
        request: what they have in common, its steps included; it stays as it is. Where it names a file or has an id,
            theirs have the values besides.
        **varied: the values by input; `model` and `prompt` too.

    Raises:
        RequestError: there is nothing to vary, or something that is no list of values.
    """
    values: dict[str, list[Any]] = {}
    for name, each in varied.items():
        if isinstance(each, str | bytes | dict) or not isinstance(each, Iterable):
            raise RequestError(f"{name} is {each!r}; expected: the values to take in turn, as in {name}=[…]")
        values[name] = list(each)
        if not values[name]:
            raise RequestError(f"{name} has no values; expected: one or more, as in {name}=[…]")
    if not values:
        raise RequestError("nothing to vary; expected: values by input, as in seed=range(4)")
    return _combined(request, values)


def _combined(request: BatchRequest, values: dict[str, list[Any]]) -> Iterator[BatchRequest]:
    for combination in itertools.product(*values.values()):
        given = dict(zip(values, combination, strict=True))
        inputs = {**(request.kwargs or {}), **given}
        axes = tuple(
            fit(str(value).rpartition("/")[2]) if name == "model" else f"{fit(name)}-{fit(str(value))}"
            for name, value in given.items()
        )
        each = copy.copy(request)
        each.model_name = inputs.pop("model", request.model_name)
        each.prompt = inputs.pop("prompt", request.prompt)
        each.kwargs = inputs
        if request.output_filepath is not None:
            each.output_filepath = with_axes(request.output_filepath, axes)
        each.request_id = "-".join([str(request.request_id), *axes]) if request.idempotent else None
        each.__post_init__()
        yield each
