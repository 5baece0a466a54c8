"""One model of the catalogue: what it makes, takes and costs, and who stands in for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, field_validator
from pydantic.dataclasses import dataclass

from replibatch.catalog.inputs import InputSpec
from replibatch.catalog.prices import (
    DURATIONS,
    LONGEST_SECONDS,
    Price,
    PriceUnit,
    Units,
    Usd,
    at_most_usd,
)

Condition = Literal[
    "failed",
    "sensitive",
    "timeout",
    "no_output",
    "unavailable",
    "interrupted",
    "model_missing",
    "over_price",
    "invalid_input",
    "canceled",
    "unsupported_inputs",
]
Kind = Literal["image", "video", "audio", "text", "3d", "file"]
Output = Literal["uri", "array<uri>", "text", "array<text>", "json"]

# What leads along an edge that names no condition: whatever another model may do better.
MODEL_SPECIFIC: frozenset[Condition] = frozenset(
    {"failed", "sensitive", "timeout", "no_output", "unavailable", "interrupted", "model_missing", "over_price"}
)
UNSUPPORTED_INPUTS: Condition = "unsupported_inputs"

# Where none is named.
EXTENSIONS: dict[str, str] = {
    "image": "png",
    "video": "mp4",
    "audio": "mp3",
    "text": "txt",
    "3d": "glb",
    "file": "json",
}
DEPLOYMENT = "deployment:"
# What takes the prompt where no input is called so, in this order.
PROMPT_NAMES = ("prompt", "text", "text_prompt", "prompt_text", "input_text", "gen_text", "caption", "instruction")
TYPE_NAMES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Edge:
    """A fallback: who is next, and when.

    Attributes:
        model: the next one's name.
        on: what leads there: words of `AttemptFailure.reason`, or `unsupported_inputs` (before the call).
        references: only for requests with a reference image.
    """

    model: str
    on: Annotated[frozenset[Condition], Field(min_length=1)] = MODEL_SPECIFIC
    references: Annotated[bool, Field(strict=True)] = False

    @field_validator("on", mode="before")
    @classmethod
    def _one_is_enough(cls, on: Any) -> Any:
        return (on,) if isinstance(on, str) else on


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Model:
    """One model's entry in the catalogue.

    Attributes:
        name: `owner/name`, `owner/name:version`, or `deployment:owner/name`.
        kind: what it makes; `file` where that is something else, or not known.
        version: the version it is pinned to, as models that are not official have to be; None for the name alone.
        price_usd: US dollars for one `price_unit`; None if unknown, or if `prices` say all.
        price_unit: what one pays for: an image, a call, a second (of a duration), a second of GPU time, a megapixel
            or a token of the output.
        prices: prices that hold for some inputs alone, the first that fits before `price_usd`.
        input_token_usd: US dollars for a token of the input; None where every token costs the same.
        amount_param: the input that says how many units; None tries the usual names.
        most_units: how many units a prediction comes to at most, where no input says.
        inputs: by name.
        inputs_known: whether these are all; otherwise any other is sent as it is.
        typical_seconds: how long a prediction usually takes.
        specialization: a few words on what it is good at.
        output: what a prediction's output is; None where that is not known.
        output_files: of a `json` output, where its files are: names with dots between, `*` for each of a list.
        prompt_param: the input that takes the prompt; None tries the usual names.
        reference_param: the input that takes reference images; None where none does.
        reference_max: how many reference images it takes.
        data_uris: whether files go along as data URIs, as the model refuses addresses of the files API.
        fallback: who is tried when it fails, in this order.
        safety_off: inputs a fallback to it adds, where the user switched the safety checker off.
        source: where this entry's facts were read, and when.
    """

    name: str
    kind: Kind
    inputs: dict[str, InputSpec]
    price_usd: Usd | None = None
    price_unit: PriceUnit = "call"
    prices: tuple[Price, ...] = ()
    input_token_usd: Usd | None = None
    amount_param: str | None = None
    most_units: Units | None = None
    version: Annotated[str, Field(pattern=r"^[\w.-]+$")] | None = None
    inputs_known: Annotated[bool, Field(strict=True)] = True
    typical_seconds: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] = 10.0
    specialization: str = ""
    output: Output | None = None
    output_files: tuple[str, ...] = ()
    prompt_param: str | None = None
    reference_param: str | None = None
    reference_max: Annotated[int, Field(strict=True, ge=0)] = 0
    data_uris: Annotated[bool, Field(strict=True)] = False
    fallback: tuple[Edge, ...] = ()
    safety_off: dict[str, Any] = field(default_factory=dict)
    source: str = ""

    @field_validator("inputs", mode="before")
    @classmethod
    def _inputs_in_full(cls, inputs: Any) -> Any:
        """Every input with its name and type, where the file uses the short form."""
        if not isinstance(inputs, Mapping):
            return inputs
        return {name: _spec_in_full(name, spec) for name, spec in inputs.items()}

    @field_validator("fallback", mode="before")
    @classmethod
    def _edges_in_full(cls, edges: Any) -> Any:
        if not isinstance(edges, list | tuple):
            return edges
        return tuple({"model": edge} if isinstance(edge, str) else edge for edge in edges)

    def __post_init__(self) -> None:
        self._check_price()
        if self.version is not None and (self.is_deployment or ":" in self.name):
            raise ValueError(f"version is {self.version!r}; allowed: only for a model named owner/name")
        if self.reference_param is None and self.reference_max:
            raise ValueError(f"reference_max is {self.reference_max}; allowed: only with a reference_param")
        if self.prompt_param is not None and self.inputs_known and self.prompt_param not in self.inputs:
            raise ValueError(f"prompt_param is {self.prompt_param!r}; allowed: {', '.join(self.inputs)}")
        if self.reference_param is not None and not self._is_unknown(self.reference_param):
            spec = self.inputs.get(self.reference_param)
            if spec is None or not spec.is_file:
                raise ValueError(f"reference_param is {self.reference_param!r}; allowed: an input that takes files")
            if self.reference_max > 1 and not spec.takes_files_as_list:
                raise ValueError(f"reference_max is {self.reference_max}; allowed: 1, as {spec.name} is no array")
        for name, value in self.safety_off.items():
            if name not in self.inputs:
                raise ValueError(f"safety_off has {name!r}; allowed: {', '.join(self.inputs)}")
            self.inputs[name].coerce(value)

    def _check_price(self) -> None:
        if self.price_unit == "second" and self._is_priced and self.inputs_known and not self.most_units:
            names = (self.amount_param,) if self.amount_param else DURATIONS
            if not any(_has_a_bound(self.inputs.get(name)) for name in names):
                raise ValueError(
                    "price_unit is 'second'; allowed: only with an input 'duration', or an amount_param, that has a "
                    "default, a maximum or an enum; or with most_units"
                )
        for price in self.prices:
            for name in price.when:
                if self.inputs_known and name not in self.inputs:
                    raise ValueError(f"prices has {name!r}; allowed: {', '.join(self.inputs)}")
        if self.amount_param is not None and self.inputs_known and self.amount_param not in self.inputs:
            raise ValueError(f"amount_param is {self.amount_param!r}; allowed: {', '.join(self.inputs)}")

    @property
    def _is_priced(self) -> bool:
        return self.price_usd is not None or bool(self.prices)

    def _is_unknown(self, name: str) -> bool:
        return not self.inputs_known and name not in self.inputs

    @property
    def is_deployment(self) -> bool:
        """Whether it is a deployment of the account's own."""
        return self.name.startswith(DEPLOYMENT)

    @property
    def address(self) -> str:
        """What a create names: the name, with the version that it is pinned to."""
        return f"{self.name}:{self.version}" if self.version else self.name

    @cached_property
    def prompt_name(self) -> str | None:
        """The input that takes the prompt; None where none does."""
        if self.prompt_param is not None:
            return self.prompt_param
        known = next((name for name in PROMPT_NAMES if name in self.inputs and not self.inputs[name].is_file), None)
        return known if known or self.inputs_known else "prompt"

    @property
    def has_output_text(self) -> bool:
        """Whether its output is declared as text, so that an address in it is text too."""
        return self.output in ("text", "array<text>") or (self.output is None and self.kind == "text")

    @property
    def reference_is_list(self) -> bool:
        """Whether the reference images go as a list, even a single one."""
        if self.reference_param is None:
            return False
        spec = self.inputs.get(self.reference_param)
        return self.reference_max > 1 if spec is None else spec.takes_files_as_list

    @property
    def seed_param(self) -> str | None:
        """The input that takes a seed; None where none does."""
        spec = self.input("seed")
        return spec.name if spec else None

    @cached_property
    def output_formats(self) -> tuple[str, ...]:
        """The file formats it can be asked for; empty where it cannot."""
        spec = self.inputs.get("output_format")
        return tuple(str(value) for value in (spec.enum or ())) if spec else ()

    @property
    def default_output_format(self) -> str | None:
        """The format it makes unless asked for another; None where that is not known."""
        default = self.inputs["output_format"].default if self.output_formats else None
        return None if default is None else str(default)

    def input(self, name: str) -> InputSpec | None:
        """The input of that name, or the one that other models call so; None where there is none."""
        if name in self.inputs:
            return self.inputs[name]
        return next((spec for spec in self.inputs.values() if name in spec.also), None)

    def extension(self, inputs: Mapping[str, Any]) -> str:
        """The extension, without a dot, that suits what these inputs make."""
        asked = str(inputs.get("output_format", self.default_output_format))
        extension = asked if asked in self.output_formats else EXTENSIONS[self.kind]
        return "jpg" if extension == "jpeg" else extension

    def cost_usd(self, inputs: Mapping[str, Any], longest_seconds: float = LONGEST_SECONDS) -> float | None:
        """What one prediction costs at most; see `at_most_usd`."""
        return at_most_usd(self, inputs, longest_seconds)

    def to_json(self) -> dict[str, Any]:
        """A dict for JSON, without fields at their default; travels with a request."""
        data: dict[str, Any] = _MODEL.dump_python(self, mode="json", exclude_defaults=True)
        for spec in data["inputs"].values():
            del spec["name"]
            for alternative in spec.get("any_of", ()):
                del alternative["name"]
        for edge in data.get("fallback", ()):
            if "on" in edge:
                edge["on"].sort()
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Model:
        """The opposite of `to_json`; a pydantic `ValidationError` where the data is no model."""
        return _MODEL.validate_python(data)


_MODEL = TypeAdapter(Model)


def _has_a_bound(spec: InputSpec | None) -> bool:
    return spec is not None and (spec.default is not None or spec.maximum is not None or bool(spec.enum))


def _spec_in_full(name: str, spec: Any) -> Any:
    if isinstance(spec, str):
        return {"name": name, "type": spec}
    if not isinstance(spec, Mapping):
        raise ValueError(f"{name} is {spec!r}; allowed: a type, or a table with one")
    shown = next(iter(spec.get("enum") or ()), spec.get("default"))
    inferred = {"type": TYPE_NAMES[type(shown)]} if type(shown) in TYPE_NAMES else {}
    return {**inferred, **spec, "name": name}
