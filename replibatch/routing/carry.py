"""What a model is given for an attempt: of the inputs that were asked for, those that it takes, as it takes them."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from replibatch.catalog import Model
from replibatch.errors import ReferenceImageError, RequestError
from replibatch.requests import RoutedRequest
from replibatch.routing.near import nearest, plain

# What a reference image is called here and there; every model's own reference parameter is added to these.
REFERENCE_NAMES = frozenset(
    {"image", "images", "input_image", "input_images", "image_input", "image_inputs", "image_prompt", "image_prompts"}
    | {"start_image", "first_frame_image", "init_image", "image_url", "image_urls"}
    | {"reference", "reference_image", "reference_images", "ref_image", "ref_images"}
)
FORMAT = "output_format"
SEED = "(seed)"  # in `inputs`, and no model's input: the seed for those of the chain that take one


def inputs_for(model: Model, request: RoutedRequest, *, safety_off: bool = False) -> tuple[dict[str, Any], list[str]]:
    """What a model is given for an attempt.

    Args:
        model: the one asked for, or a fallback.
        request: routed; its files are URLs or `file:…` names, and are passed on as they are.
        safety_off: whether a fallback to this model switches its safety checker off.

    Returns:
        The whole input, prompt and reference images included, and what could not be carried over.

    Raises:
        ReferenceImageError: the model does not take that many reference images.
    """
    given, references = dict(request.inputs), list(request.references)
    seed = given.pop(SEED, None)
    warnings = []
    for name in [name for name in given if name in REFERENCE_NAMES and model.input(name) is None]:
        images = given[name] if isinstance(given[name], list) else [given[name]]
        are_places = all(isinstance(image, str) for image in images)  # whatever was sent to a model not known
        if (
            are_places and len(references) + len(images) <= model.reference_max
        ):  # an image to start from is an image to go by
            references += images
            del given[name]
            warnings.append(f"{name!r} is sent to {model.name} as {model.reference_param!r}")
    if len(references) > model.reference_max:
        raise ReferenceImageError(too_many(len(references), model))
    if format_of(request.output) and not _takes(model, FORMAT, given.get(FORMAT)):
        given.pop(FORMAT, None)  # the file is converted to the format of its name
    carried, left_out = carry(model, given, with_reference=bool(references))
    if request.prompt and model.prompt_name is not None:
        carried = {model.prompt_name: request.prompt, **carried}
    elif request.prompt:
        left_out.append(f"{model.name} takes no prompt; left out")
    inputs = carried
    ask_for_format(model, inputs, request.output)
    if references and model.reference_param:
        inputs[model.reference_param] = references if model.reference_is_list else references[0]
    if safety_off:
        inputs |= {name: value for name, value in model.safety_off.items() if name not in inputs}
    if model.seed_param and (own := inputs.pop(model.seed_param, seed)) is not None:
        inputs[model.seed_param] = own  # last, given or made up: making it again gives the same bytes
    return inputs, [*warnings, *left_out]


def carry(model: Model, given: Mapping[str, Any], *, with_reference: bool) -> tuple[dict[str, Any], list[str]]:
    """What the model takes of the inputs, under its own names, and what it does not."""
    carried: dict[str, Any] = {}
    left_out = []
    for name, value in sorted(given.items(), key=lambda item: item[0] not in model.inputs):  # its own names first
        spec = model.input(name)
        if spec is not None and spec.name in carried:
            left_out.append(f"{name!r} is left out: {spec.name!r} is given too")
            continue
        if spec is None and not model.inputs_known:
            carried[name] = value
            continue
        if spec is None:
            left_out.append(no_input(model, name))
            continue
        try:
            carried[spec.name] = spec.coerce(value, with_reference=with_reference)
        except RequestError as error:
            left_out.append(f"{model.name}: {error}; left out")
        else:
            if spec.name != name:
                left_out.append(f"{name!r} is sent to {model.name} as {spec.name!r}")
    return carried, left_out


def ask_for_format(model: Model, inputs: dict[str, Any], output: str | None) -> list[str]:
    """Ask for the format of the file's name, where the model has it; says so where another was asked for."""
    extension = format_of(output)
    wanted = next((each for each in model.output_formats if _plain(each) == extension), None)
    if wanted is None:
        return []
    asked = inputs.get(FORMAT, wanted)
    inputs[FORMAT] = wanted
    return [] if asked == wanted else [f"{FORMAT} {asked!r} gives way to the name {output!r}"]


def format_of(output: str | None) -> str:
    """The format of a file's name, in the word the models have for it; empty where it names none."""
    return _plain(posixpath.splitext(output or "")[1].removeprefix("."))


SHAPES = frozenset(("width", "height", "size", "imagesize", "resolution", "dimensions"))  # as others name them


def no_input(model: Model, name: str) -> str:
    """What to say of an input that a model does not have."""
    near = nearest(name, model.inputs) or next((own for own in model.inputs if plain(own) == plain(name)), None)
    hint = f" (did you mean {near!r}?)" if near else ""
    if not near and plain(name) in SHAPES and (shape := model.inputs.get("aspect_ratio")) is not None:
        hint = " (the shape of its pictures is 'aspect_ratio'" + (
            ", as in 16:9)" if "16:9" in (shape.enum or ()) else ")"
        )
    return f"{model.name} has no input {name!r}; left out{hint}"


def too_many(count: int, model: Model) -> str:
    """What to say where a model takes fewer reference images than there are."""
    allowed = f"at most {model.reference_max}" if model.reference_max else "none"
    return f"{counted_images(count)} for {model.name}; allowed: {allowed}"


def counted_images(count: int) -> str:
    """How many reference images, for people."""
    return "a reference image" if count == 1 else f"{count} reference images"


def _takes(model: Model, name: str, value: Any) -> bool:
    spec = model.inputs.get(name)
    try:
        return spec is not None and spec.coerce(value) is not None
    except RequestError:
        return False


def _plain(extension: str) -> str:
    extension = extension.lower()
    return "jpg" if extension == "jpeg" else extension
