"""One model of the catalogue: what it makes, takes and costs, and who stands in for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, field_validator
from pydantic.dataclasses import dataclass

from replibatch.catalog.inputs import InputSpec

Condition = Literal[
    "failed",
    "sensitive",
    "timeout",
    "no_output",
    "unavailable",
    "interrupted",
    "model_missing",
    "invalid_input",
    "canceled",
    "unsupported_inputs",
]
Kind = Literal["image", "video", "audio", "text"]

# What leads along an edge that names no condition: whatever another model may do better.
MODEL_SPECIFIC: frozenset[Condition] = frozenset(
    {"failed", "sensitive", "timeout", "no_output", "unavailable", "interrupted", "model_missing"}
)
UNSUPPORTED_INPUTS: Condition = "unsupported_inputs"

EXTENSIONS: dict[str, str] = {"image": "png", "video": "mp4", "audio": "mp3", "text": "txt"}  # where none is named
AMOUNTS = {"image": "num_outputs", "second": "duration"}  # the input that multiplies the price
PROMPT = {"type": "string", "required": True}
TYPE_NAMES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}


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
    """What is known of one model.

    Attributes:
        name: `owner/name`, or `owner/name:version`.
        kind: what it makes.
        price_usd: US dollars for one `price_unit`.
        price_unit: `image` (of `num_outputs`), `call`, or `second` (of `duration`).
        inputs: by name; `prompt` is always one of them.
        typical_seconds: how long a prediction usually takes.
        specialization: a few words on what it is good at.
        output: what a prediction's output is: a URL, a list of URLs, or text.
        reference_param: the input that takes reference images; None where none does.
        reference_max: how many of them it takes.
        fallback: who is tried when it fails, in this order.
        safety_off: inputs a fallback to it adds, where the user switched the safety checker off.
    """

    name: str
    kind: Kind
    price_usd: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
    price_unit: Literal["image", "call", "second"]
    inputs: dict[str, InputSpec]
    typical_seconds: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] = 10.0
    specialization: str = ""
    output: Literal["uri", "array<uri>", "text"] = "uri"
    reference_param: str | None = None
    reference_max: Annotated[int, Field(strict=True, ge=0)] = 0
    fallback: tuple[Edge, ...] = ()
    safety_off: dict[str, Any] = field(default_factory=dict)

    @field_validator("inputs", mode="before")
    @classmethod
    def _inputs_in_full(cls, inputs: Any) -> Any:
        """Every input with its name and type, where the file uses the short form."""
        if not isinstance(inputs, Mapping):
            return inputs
        return {name: _spec_in_full(name, spec) for name, spec in {"prompt": PROMPT, **inputs}.items()}

    @field_validator("fallback", mode="before")
    @classmethod
    def _edges_in_full(cls, edges: Any) -> Any:
        if not isinstance(edges, list | tuple):
            return edges
        return tuple({"model": edge} if isinstance(edge, str) else edge for edge in edges)

    def __post_init__(self) -> None:
        duration = self.inputs.get("duration")
        if self.price_unit == "second" and (duration is None or duration.default is None):
            raise ValueError("price_unit is 'second'; allowed: only with an input 'duration' that has a default")
        if self.reference_param is None and self.reference_max:
            raise ValueError(f"reference_max is {self.reference_max}; allowed: only with a reference_param")
        if self.reference_param is not None:
            spec = self.inputs.get(self.reference_param)
            if spec is None or not spec.is_file:
                raise ValueError(f"reference_param is {self.reference_param!r}; allowed: an input that takes files")
            if self.reference_max > 1 and spec.type != "array":
                raise ValueError(f"reference_max is {self.reference_max}; allowed: 1, as {spec.name} is no array")
        for name, value in self.safety_off.items():
            if name not in self.inputs:
                raise ValueError(f"safety_off has {name!r}; allowed: {', '.join(self.inputs)}")
            self.inputs[name].coerce(value)

    @property
    def reference_is_list(self) -> bool:
        """Whether the reference images go as a list, even a single one."""
        return self.reference_param is not None and self.inputs[self.reference_param].type == "array"

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

    def cost_usd(self, inputs: Mapping[str, Any]) -> float:
        """The price of one prediction with these inputs, in US dollars, at most."""
        spec = self.inputs.get(AMOUNTS.get(self.price_unit, ""))
        amount = inputs.get(spec.name, spec.default) if spec else None
        return round(self.price_usd * float(1 if amount is None else amount), 6)

    def to_json(self) -> dict[str, Any]:
        """A dict for JSON, without what has its default; travels with a request."""
        data: dict[str, Any] = _MODEL.dump_python(self, mode="json", exclude_defaults=True)
        for spec in data["inputs"].values():
            del spec["name"]
        for edge in data.get("fallback", ()):
            if "on" in edge:
                edge["on"].sort()
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Model:
        """The opposite of `to_json`; a pydantic `ValidationError` where the data is no model."""
        return _MODEL.validate_python(data)


_MODEL = TypeAdapter(Model)


def _spec_in_full(name: str, spec: Any) -> Any:
    if isinstance(spec, str):
        return {"name": name, "type": spec}
    if not isinstance(spec, Mapping):
        raise ValueError(f"{name} is {spec!r}; allowed: a type, or a table with one")
    shown = next(iter(spec.get("enum") or ()), spec.get("default"))
    inferred = {"type": TYPE_NAMES[type(shown)]} if type(shown) in TYPE_NAMES else {}
    return {**inferred, **spec, "name": name}
