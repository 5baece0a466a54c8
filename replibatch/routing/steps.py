"""The steps after a request on their way: each routed as a request of its own, before anything is paid for."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import PurePath

from replibatch.catalog import Catalog, Model
from replibatch.errors import RequestError
from replibatch.requests import BatchRequest
from replibatch.routing.route import route
from replibatch.routing.routed import Routed
from replibatch.steps import StepRequest, leaves, outputs_in

OF_TEXT = ("text", "file")  # kinds of models that may make a text


@dataclass(frozen=True)
class RoutedStep:
    """One step, with the model that takes it.

    Attributes:
        number: from 2.
        request: as a request of its own; `OUTPUT` stands in it as a place.
        routed: the same, routed.
        fallback: whether another model may stand in.
    """

    number: int
    request: BatchRequest
    routed: Routed
    fallback: bool


def first_request(request: BatchRequest) -> BatchRequest:
    """The first step alone: the name of the file is that of the last one, and says nothing of what this one makes."""
    if not request.steps or request.output_filepath is None:
        return request
    first = copy.copy(request)
    first.output_filepath = None
    return first


def route_steps(request: BatchRequest, first: Model, catalog: Catalog, *, fallback: bool) -> list[RoutedStep]:
    """Find the models that can take the steps after a request.

    Args:
        request: with its steps.
        first: the model that makes the first one.
        catalog: the models to choose from.
        fallback: whether other models may stand in where a step does not say.

    Raises:
        RequestError: a step cannot be done as asked, naming it.
    """
    makers, found = [first], []
    for number, step in enumerate(request.steps, 2):
        try:
            asked = _as_request(step, number, request)
            own_fallback = fallback if step.fallback is None else step.fallback and fallback
            routed = route(asked, catalog, fallback=own_fallback)
            _check_output(step, routed, makers[step.after - 1])
        except RequestError as error:
            raise type(error)(f"step {number}: {error}") from None
        makers.append(routed.model)
        found.append(RoutedStep(number, asked, routed, own_fallback))
    return found


def output_name(name: str, number: int, request: BatchRequest, routed: Routed) -> str:
    """The file of a step: the last one has the item's name, any other the same with its number.

    Args:
        name: of the item's file.
        number: the step's.
        request: the item's.
        routed: the step.
    """
    last = leaves([step.after for step in request.steps])
    if last == [number]:
        return name
    path = PurePath(name)
    return str(path.with_name(f"{path.stem}.step{number}.{routed.model.extension(routed.inputs)}"))


def _as_request(step: StepRequest, number: int, request: BatchRequest) -> BatchRequest:
    named = leaves([each.after for each in request.steps]) == [number]
    asked = BatchRequest(
        step.prompt,
        step.model_name,
        request.output_filepath if named else None,
        max_price_usd=step.max_price_usd,
        within=request.within,
        local_files=request.local_files,
    )
    asked.kwargs = dict(step.kwargs)  # with places of outputs, which no request may give
    return asked


def _check_output(step: StepRequest, routed: Routed, maker: Model) -> None:
    """Refuse a step from which routing has taken the output it works on, or that works on none of its kind."""
    if any(outputs_in(step.prompt)) and maker.kind not in OF_TEXT:
        raise RequestError(
            f"prompt is OUTPUT, and {maker.name} makes {maker.kind}s; expected: a model that makes text"
        )
    takes_prompt = routed.model.prompt_name is not None or not routed.model.inputs_known
    kept = [routed.references, routed.inputs, step.prompt if takes_prompt else ""]
    if not any(outputs_in(kept)):
        names = ", ".join(repr(name) for name, value in step.kwargs.items() if any(outputs_in(value))) or "'prompt'"
        takes = ", ".join(routed.model.inputs) or "not known"
        raise RequestError(
            f"{routed.model.name} does not take OUTPUT as {names}; expected: one of its inputs ({takes})"
        )
