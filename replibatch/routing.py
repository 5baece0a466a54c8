"""From a request to what a model takes. Decides everything before any money is spent.

`route` runs once, where the request is made: it finds the model that can take it, refuses what none can, and fixes
the seed. `inputs_for` runs before every attempt, on whichever model: the same request and model give the same inputs.
"""

from __future__ import annotations

import posixpath
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from replibatch.catalog import Catalog
from replibatch.catalog.inputs import InputSpec, listed
from replibatch.catalog.models import UNSUPPORTED_INPUTS, Model
from replibatch.errors import OutputPathError, ReferenceImageError, RequestError
from replibatch.references import check_file, check_image, is_local, places
from replibatch.requests import BatchRequest, RoutedRequest

__all__ = ["Routed", "inputs_for", "located", "route"]

# What a reference image is called here and there; every model's own reference parameter is added to these.
REFERENCE_NAMES = frozenset(
    {"image", "images", "input_image", "input_images", "image_input", "image_inputs", "image_prompt", "image_prompts"}
    | {"start_image", "first_frame_image", "init_image", "image_url", "image_urls"}
    | {"reference", "reference_image", "reference_images", "ref_image", "ref_images"}
)
PICTURE_WORDS = ("image", "mask", "frame")  # a file input named so takes pictures
FORMAT = "output_format"
SEED = "(seed)"  # in `inputs`, and no model's input: the seed for those of the chain that take one
SEED_SPEC = InputSpec(name="seed", type="integer")
SEED_BITS = 31
TYPO_LIKENESS = 0.8  # as difflib measures it
IMAGES = frozenset({"jpg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif"})
VIDEOS = frozenset({"mp4", "m4v", "mov", "webm", "mkv", "avi"})


@dataclass(frozen=True)
class Routed:
    """A request with the model that takes it.

    Attributes:
        model: the first to try.
        inputs: what it is given besides prompt and reference images; checked.
        references: the reference images: absolute paths, URLs and data URIs.
        warnings: what was changed or left out, for people.
    """

    model: Model
    inputs: dict[str, Any]
    references: list[str]
    warnings: list[str]

    @property
    def places(self) -> list[str]:
        """Where its files are, each once: reference images, and those in the model's other file inputs."""
        others = (place for name in self._file_inputs() for place in _as_list(self.inputs[name]))
        return list(dict.fromkeys([*self.references, *others]))

    @property
    def files(self) -> list[str]:
        """Those of its files that are on this machine."""
        return [place for place in self.places if is_local(place)]

    def check_files(self) -> None:
        """Look at every file that is here, on the disk or in a data URI.

        Raises:
            ReferenceImageError: one is missing, empty, too large, or no image where an image is wanted.
        """
        for place in self.references:
            check_image(place)
        for name in self._file_inputs():
            check = check_image if any(word in name for word in PICTURE_WORDS) else check_file
            for place in _as_list(self.inputs[name]):
                check(place)

    def with_files(self, stored: Mapping[str, str]) -> Routed:
        """The same with files replaced by what they are stored as (`file:<sha256>.<extension>`)."""

        def moved(value: Any) -> Any:
            return [stored.get(each, each) for each in value] if isinstance(value, list) else stored.get(value, value)

        inputs = {**self.inputs, **{name: moved(self.inputs[name]) for name in self._file_inputs()}}
        return replace(self, inputs=inputs, references=moved(self.references))

    def _file_inputs(self) -> list[str]:
        return [name for name in self.inputs if (spec := self.model.inputs.get(name)) and spec.is_file]


def route(request: BatchRequest, catalog: Catalog, *, folder: Path | None = None) -> Routed:
    """Find the model that can take a request, and what it is given.

    Args:
        request: as the caller made it.
        catalog: the models to choose from.
        folder: where relative paths of images start; None takes the working directory.

    Raises:
        UnsupportedModel: the catalogue has no such model.
        ReferenceImageError: more reference images than any model takes, or not to be understood.
        OutputPathError: the file asked for cannot hold what the model makes.
        RequestError: an input of the wrong type, out of its range, or missing.
    """
    asked = catalog.get(request.model_name)
    given = {name: value for name, value in (request.kwargs or {}).items() if value is not None}
    if "prompt" in given:
        raise RequestError("prompt is given twice: as the prompt, and among the inputs")
    names = _reference_names(catalog)
    references: list[str] = []
    inputs: dict[str, Any] = {}
    for name, value in given.items():
        spec = asked.input(name)
        if name == asked.reference_param or (spec is None and name in names):
            references += places(name, listed(value), folder or Path.cwd())
        elif spec is not None and spec.is_file:
            found = places(name, listed(value), folder or Path.cwd())
            inputs[name] = found if spec.type == "array" else _only(name, found)
        else:
            inputs[name] = value
    model, switched = _model_for(asked, inputs, references, catalog)
    inputs = {name: _checked(name, value, asked, model, bool(references)) for name, value in inputs.items()}
    inputs, left_out = _carried(model, inputs, with_reference=bool(references))
    _check_required(model, inputs, references)
    _check_extension(model, request.output_filepath)
    renamed = _ask_for_format(model, inputs, request.output_filepath)
    _fix_seed(model, inputs, given.get("seed"))
    return Routed(model, inputs, references, [*switched, *left_out, *renamed])


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
        images = _as_list(given[name])
        if len(references) + len(images) <= model.reference_max:  # an image to start from is an image to go by
            references += images
            del given[name]
            warnings.append(f"{name!r} is sent to {model.name} as {model.reference_param!r}")
    if len(references) > model.reference_max:
        raise ReferenceImageError(_too_many(len(references), model))
    if _extension(request.output) and not _takes(model, FORMAT, given.get(FORMAT)):
        given.pop(FORMAT, None)  # the file is converted to the format of its name
    carried, left_out = _carried(model, given, with_reference=bool(references))
    inputs = {"prompt": request.prompt, **carried}
    _ask_for_format(model, inputs, request.output)
    if references and model.reference_param:
        inputs[model.reference_param] = references if model.reference_is_list else references[0]
    if model.seed_param and seed is not None:
        inputs.setdefault(model.seed_param, seed)
    if safety_off:
        inputs = {**model.safety_off, **inputs}
    return inputs, [*warnings, *left_out]


def located(inputs: Mapping[str, Any], catalog: Catalog, folder: Path) -> dict[str, Any]:
    """The inputs with the relative paths of their files made absolute.

    Args:
        inputs: as given, for whichever model.
        catalog: its models say which inputs take files.
        folder: where relative paths start.
    """
    specs = (spec for model in catalog.models.values() for spec in model.inputs.values())
    names = _reference_names(catalog) | {spec.name for spec in specs if spec.is_file}
    return {
        name: places(name, listed(value), folder) if name in names and value is not None else value
        for name, value in inputs.items()
    }


def _model_for(
    asked: Model, inputs: dict[str, Any], references: list[str], catalog: Catalog
) -> tuple[Model, list[str]]:
    """The model that can take it, and what to say where that is another one than asked.

    Where the images need another model, those in the asked model's own file inputs go along as references: they are
    moved from `inputs` to `references`.
    """
    if len(references) > asked.reference_max:
        if asked.kind != "image":
            raise ReferenceImageError(_too_many(len(references), asked))
        for name in [name for name in inputs if name in REFERENCE_NAMES]:
            references += _as_list(inputs.pop(name))
        taker = catalog.one_reference if len(references) == 1 else catalog.several_references
        if len(references) > taker.reference_max:
            raise ReferenceImageError(_too_many(len(references), taker))
        return taker, [f"{taker.name} instead of {asked.name}, for {_images(len(references))}"]
    foreign = [name for name in inputs if asked.input(name) is None]
    for edge in asked.fallback:
        if UNSUPPORTED_INPUTS in edge.on and not references and not edge.references:
            other = catalog.models[edge.model]
            if taken := [name for name in foreign if other.input(name)]:
                return other, [f"{other.name} instead of {asked.name}, for {', '.join(map(repr, taken))}"]
    return asked, []


def _checked(name: str, value: Any, asked: Model, model: Model, with_reference: bool) -> Any:
    """The value as the model that has this input takes it; an input that none has stays as it is."""
    owner = asked if asked.input(name) else model
    spec = owner.input(name)
    if spec is None:
        return value
    try:
        return spec.coerce(value, with_reference=with_reference and owner is model)
    except RequestError as error:
        raise RequestError(f"{owner.name}: {error}") from None


def _carried(model: Model, given: Mapping[str, Any], *, with_reference: bool) -> tuple[dict[str, Any], list[str]]:
    """What the model takes of the inputs, under its own names, and what it does not."""
    carried: dict[str, Any] = {}
    left_out = []
    for name, value in sorted(given.items(), key=lambda item: item[0] not in model.inputs):  # its own names first
        spec = model.input(name)
        if spec is not None and spec.name in carried:
            left_out.append(f"{name!r} is left out: {spec.name!r} is given too")
            continue
        if spec is None:
            left_out.append(f"{model.name} has no input {name!r}; left out{_meant(name, model)}")
            continue
        try:
            carried[spec.name] = spec.coerce(value, with_reference=with_reference)
        except RequestError as error:
            left_out.append(f"{model.name}: {error}; left out")
        else:
            if spec.name != name:
                left_out.append(f"{name!r} is sent to {model.name} as {spec.name!r}")
    return carried, left_out


def _check_required(model: Model, inputs: Mapping[str, Any], references: list[str]) -> None:
    there = {"prompt", *inputs, *([model.reference_param] if references else [])}
    for spec in model.inputs.values():
        if spec.required and spec.name not in there:
            raise RequestError(f"{model.name}: {spec.name} is missing; allowed: {spec.allowed}")


def _check_extension(model: Model, output: str | None) -> None:
    """Refuse a video under an image's name, and the other way round: no conversion would mend it."""
    foreign = {"image": VIDEOS, "video": IMAGES}.get(model.kind, frozenset())
    if _extension(output) in foreign:
        allowed = f"a name ending in .{model.extension({})}"
        raise OutputPathError(f"{output}: {model.name} makes {model.kind}s; allowed: {allowed}")


def _ask_for_format(model: Model, inputs: dict[str, Any], output: str | None) -> list[str]:
    """Ask for the format of the file's name, where the model has it; says so where another was asked for."""
    extension = _extension(output)
    wanted = next((each for each in model.output_formats if _plain(each) == extension), None)
    if wanted is None:
        return []
    asked = inputs.get(FORMAT, wanted)
    inputs[FORMAT] = wanted
    return [] if asked == wanted else [f"{FORMAT} {asked!r} gives way to the name {output!r}"]


def _fix_seed(model: Model, inputs: dict[str, Any], given: Any) -> None:
    """One seed for every attempt: it makes the input unique, and the picture repeatable."""
    if model.seed_param not in inputs:
        inputs[SEED] = secrets.randbits(SEED_BITS) if given is None else SEED_SPEC.coerce(given)


def _reference_names(catalog: Catalog) -> frozenset[str]:
    return REFERENCE_NAMES | {each.reference_param for each in catalog.models.values() if each.reference_param}


def _takes(model: Model, name: str, value: Any) -> bool:
    spec = model.inputs.get(name)
    try:
        return spec is not None and spec.coerce(value) is not None
    except RequestError:
        return False


def _extension(output: str | None) -> str:
    return _plain(posixpath.splitext(output or "")[1].removeprefix("."))


def _plain(extension: str) -> str:
    extension = extension.lower()
    return "jpg" if extension == "jpeg" else extension


def _as_list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _only(name: str, found: list[str]) -> str:
    if len(found) != 1:
        raise ReferenceImageError(f"{name} holds {len(found)} files; allowed: one")
    return found[0]


def _images(count: int) -> str:
    return "a reference image" if count == 1 else f"{count} reference images"


def _too_many(count: int, model: Model) -> str:
    allowed = f"at most {model.reference_max}" if model.reference_max else "none"
    return f"{_images(count)} for {model.name}; allowed: {allowed}"


def _meant(name: str, model: Model) -> str:
    close = get_close_matches(name, model.inputs, 1, TYPO_LIKENESS)
    return f" (did you mean {close[0]!r}?)" if close else ""
