"""Choose the model for a request and its inputs; refuse a bad request before any money is spent."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from replibatch.catalog import Catalog, Model
from replibatch.catalog.inputs import InputSpec
from replibatch.catalog.models import UNSUPPORTED_INPUTS
from replibatch.catalog.values import listed
from replibatch.errors import OutputPathError, ReferenceImageError, RequestError
from replibatch.requests import BatchRequest
from replibatch.routing.carry import (
    REFERENCE_NAMES,
    SEED,
    ask_for_format,
    carry,
    counted_images,
    format_of,
    no_input,
    too_many,
)
from replibatch.routing.files import files_of
from replibatch.routing.references import places
from replibatch.routing.routed import Routed, as_list
from replibatch.routing.unknown import as_it_stands, said_of

SEED_SPEC = InputSpec(name="seed", type="integer")
SEED_BITS = 31
IMAGES = frozenset({"jpg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif"})
VIDEOS = frozenset({"mp4", "m4v", "mov", "webm", "mkv", "avi"})


def route(request: BatchRequest, catalog: Catalog, *, folder: Path | None = None, fallback: bool = True) -> Routed:
    """Find the model that can take a request, and what it is given.

    Args:
        request: as the caller made it.
        catalog: the models to choose from.
        folder: where relative paths of images start; None takes the working directory.
        fallback: whether another model than the one asked for may take it.

    Raises:
        UnsupportedModel: the catalogue has no such model.
        ReferenceImageError: more reference images than any model takes, or not to be understood.
        OutputPathError: the file asked for cannot hold what the model makes.
        RequestError: an input of the wrong type, out of its range, or missing.
    """
    asked = catalog.get(request.model_name)
    given = {
        name: value
        for name, value in (request.kwargs or {}).items()
        if value is not None or ((spec := asked.input(name)) and spec.nullable)
    }
    if request.prompt and (named := {"prompt", asked.prompt_name} & given.keys()):
        raise RequestError(f"{min(map(str, named))} is given twice: as the prompt, and among the inputs")
    names = _reference_names(catalog)
    references: list[str] = []
    inputs: dict[str, Any] = {}
    for name, value in given.items():
        spec = asked.input(name)
        if name == asked.reference_param or (spec is None and name in names and asked.inputs_known):
            references += places(name, listed(value), folder or Path.cwd())
        else:
            inputs[name] = files_of(name, value, spec, folder or Path.cwd(), known=asked.inputs_known)
    model, switched = _model_for(asked, inputs, references, catalog, fallback=fallback)
    inputs = {name: _checked(name, value, asked, model, bool(references)) for name, value in inputs.items()}
    asked_for = list(inputs)
    inputs, left_out = carry(model, inputs, with_reference=bool(references))
    omitted = tuple(note for note in (no_input(model, name) for name in asked_for) if note in left_out)
    _check_required(model, inputs, references, has_prompt=bool(request.prompt))
    _check_price(model, inputs, request)
    _check_extension(model, request.output_filepath)
    renamed = ask_for_format(model, inputs, request.output_filepath)
    _fix_seed(model, inputs, given.get("seed"))
    warnings = [*switched, *said_of(model, request.prompt), *left_out, *renamed]
    return Routed(model, inputs, references, warnings, omitted)


def located(inputs: Mapping[str, Any], catalog: Catalog, folder: Path) -> dict[str, Any]:
    """The inputs with the relative paths of their files made absolute.

    Args:
        inputs: as given, for whichever model.
        catalog: its models say which inputs take files.
        folder: where relative paths start.
    """
    if not inputs:
        return {}
    specs = (spec for model in catalog.models.values() for spec in model.inputs.values())
    names = _reference_names(catalog) | {spec.name for spec in specs if spec.is_file}
    return {
        name: places(name, listed(value), folder) if name in names and value is not None else value
        for name, value in inputs.items()
    }


def _model_for(
    asked: Model, inputs: dict[str, Any], references: list[str], catalog: Catalog, *, fallback: bool
) -> tuple[Model, list[str]]:
    """The model that can take it, and what to say where that is another one than asked.

    Where the images need another model, those in the asked model's own file inputs go along as references: they are
    moved from `inputs` to `references`.
    """
    if len(references) > asked.reference_max:
        if asked.kind != "image":
            raise ReferenceImageError(too_many(len(references), asked))
        for name in [name for name in inputs if name in REFERENCE_NAMES]:
            references += as_list(inputs.pop(name))
        taker = catalog.one_reference if len(references) == 1 else catalog.several_references
        if len(references) > taker.reference_max:
            raise ReferenceImageError(too_many(len(references), taker))
        if not fallback:
            raise ReferenceImageError(
                f"{too_many(len(references), asked)}; {taker.name} takes it where fallbacks may stand in"
            )
        return taker, [f"{taker.name} instead of {asked.name}, for {counted_images(len(references))}"]
    foreign = [name for name in inputs if asked.input(name) is None]
    for edge in asked.fallback:
        if fallback and UNSUPPORTED_INPUTS in edge.on and not references and not edge.references:
            other = catalog.models[edge.model]
            if taken := [name for name in foreign if other.input(name)]:
                return other, [f"{other.name} instead of {asked.name}, for {', '.join(map(repr, taken))}"]
    return asked, []


def _checked(name: str, value: Any, asked: Model, model: Model, with_reference: bool) -> Any:
    """The value as the model that has this input takes it; an input that none has stays as it is."""
    owner = asked if asked.input(name) else model
    spec = owner.input(name)
    try:
        if spec is None:
            return value if owner.inputs_known else as_it_stands(name, value)
        return spec.coerce(value, with_reference=with_reference and owner is model)
    except RequestError as error:
        raise RequestError(f"{owner.name}: {error}") from None


def _check_required(model: Model, inputs: Mapping[str, Any], references: list[str], *, has_prompt: bool) -> None:
    there = {*inputs, *([model.reference_param] if references else []), *([model.prompt_name] if has_prompt else [])}
    for spec in model.inputs.values():
        if spec.required and spec.name not in there:
            raise RequestError(f"{model.name}: {spec.name} is missing; allowed: {spec.allowed}")
    # An optional prompt is left out where there is something else to work on; an empty cell of a list is no wish.
    specs = [model.inputs.get(str(name)) for name in there]
    if not has_prompt and not references and not any(spec is None or spec.is_file or spec.required for spec in specs):
        raise RequestError(f"{model.name}: {model.prompt_name or 'every input'} is missing; allowed: a text")


def _check_price(model: Model, inputs: Mapping[str, Any], request: BatchRequest) -> None:
    """Refuse absurd amounts, and requests that could cost more than they allow."""
    usd, most_usd = model.cost_usd({**inputs, **_prompt_of(model, request)}), request.max_price_usd
    if usd is not None and most_usd is not None and usd > most_usd:
        raise RequestError(f"{model.name}: it could cost ${usd:g}; allowed: at most max_price_usd, ${most_usd:g}")


def _prompt_of(model: Model, request: BatchRequest) -> dict[str, str]:
    return {model.prompt_name: request.prompt} if model.prompt_name and request.prompt else {}


def _check_extension(model: Model, output: str | None) -> None:
    """Refuse a video under an image's name, and the other way round: no conversion would fix it."""
    foreign = {"image": VIDEOS, "video": IMAGES}.get(model.kind, frozenset())
    if format_of(output) in foreign:
        allowed = f"a name ending in .{model.extension({})}"
        raise OutputPathError(f"{output}: {model.name} makes {model.kind}s; allowed: {allowed}")


def _fix_seed(model: Model, inputs: dict[str, Any], given: Any) -> None:
    """One seed for every attempt: it makes the input unique, and the picture repeatable."""
    if model.seed_param not in inputs:
        inputs[SEED] = secrets.randbits(SEED_BITS) if given is None else SEED_SPEC.coerce(given)


def _reference_names(catalog: Catalog) -> frozenset[str]:
    return REFERENCE_NAMES | {each.reference_param for each in catalog.models.values() if each.reference_param}
