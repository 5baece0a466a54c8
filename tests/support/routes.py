"""Requests on their way to a model, for the tests of routing."""

from __future__ import annotations

from typing import Any

import pytest

from replibatch.catalog import Catalog, load
from replibatch.errors import RequestError
from replibatch.requests import BatchRequest, RoutedRequest
from replibatch.routing import Routed, inputs_for, route
from tests.support.catalogue import FLUX

CATALOG = load()
A, B, C, D = (f"https://example.com/{letter}.png" for letter in "abcd")


def routed(model: str, output: str | None = None, /, catalog: Catalog = CATALOG, **kwargs: Any) -> Routed:
    return route(BatchRequest("a fox", model, output, kwargs), catalog)


def sent(
    model: str, asked: str = FLUX, /, *, output: str = "a", safety_off: bool = False, **kwargs: Any
) -> tuple[dict[str, Any], list[str]]:
    """What `model` is given for a request made of `asked`; without what is fixed here anyway."""
    way = routed(asked, output, **kwargs)
    request = RoutedRequest(
        "id", "a fox", asked, way.model.name, way.inputs, tuple(way.references), output, True, tuple(way.warnings)
    )
    inputs, warnings = inputs_for(CATALOG.get(model), request, safety_off=safety_off)
    assert (inputs, warnings) == inputs_for(CATALOG.get(model), request, safety_off=safety_off)
    assert inputs.pop("prompt") == "a fox"
    if "seed" not in kwargs:
        assert ("seed" in inputs) == (CATALOG.get(model).seed_param is not None)
        inputs.pop("seed", None)
    return inputs, warnings


def refused(kind: type[RequestError], model: str, output: str | None = None, /, **kwargs: Any) -> str:
    with pytest.raises(kind) as caught:
        routed(model, output, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)
