"""The models the stand-in hosts: those of the catalogue, and any that is registered with a schema of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from replibatch.catalog import InputSpec, Model
from replibatch.catalog.models import DEPLOYMENT

Json = dict[str, Any]


class Price(BaseModel):
    """What a model charges.

    A success costs `usd` for each `per`: image or call; second of the `duration` asked for; second it ran
    (`gpu_second`); megapixel, as its metrics say; token, in and out.
    """

    model_config = ConfigDict(extra="forbid")

    usd: float = Field(ge=0)
    per: Literal["image", "call", "second", "gpu_second", "megapixel", "token"] = "call"

    def charge(self, inputs: Mapping[str, Any], metrics: Mapping[str, Any]) -> float:
        """What one success costs, in US dollars."""
        match self.per:
            case "call":
                amount = 1.0
            case "image":
                amount = metrics.get("image_count", 1)
            case "second":
                amount = metrics.get("video_output_duration_seconds", inputs.get("duration", 1))
            case "gpu_second":
                amount = metrics["predict_time"]
            case "megapixel":
                amount = metrics.get("image_output_megapixels", 1)
            case "token":
                amount = metrics.get("input_token_count", 0) + metrics.get("output_token_count", 0)
        return round(self.usd * float(amount), 9)


class ModelSpec(BaseModel):
    """A model to be hosted, as it is registered at the desk."""

    model_config = ConfigDict(extra="forbid")

    version: str | None = Field(None, description="Its latest version's id; unset: one made of its name.")
    official: bool = Field(True, description="Runs by its name; others run by their version's id alone.")
    missing: bool = Field(False, description="Gone: a 404 wherever it is asked for.")
    schema_shown: bool = Field(True, description="Otherwise `latest_version` has no schema.")
    data_uris_only: bool = Field(False, description="Addresses of the files API fail as an invalid image.")
    private: bool = Field(False, description="Failures are billed, too.")
    alias: str | None = Field(None, description="The name that rows tell instead of its own.")
    inputs: Json = Field({}, description="The properties of its `Input` schema.")
    required: list[str] = Field([], description="Those it does not run without.")
    schemas: Json = Field({}, description="Further schemas that `$ref` can name: `#/components/schemas/…`.")
    output: Json = Field({"type": "string", "format": "uri"}, description="Its `Output` schema.")
    gives: str = Field("output-png", description="What it gives: a kind of fault that decides an output's form.")
    metrics: Json = Field({}, description="Shown beside the usual ones, and billed where its price says so.")
    price: Price = Field(Price(usd=0), description="What it charges.")
    typical_seconds: float = Field(1.0, ge=0, description="How long it usually takes.")
    description: str = ""


@dataclass(frozen=True)
class Hosted:
    """One model the stand-in runs.

    Attributes:
        name: `owner/name`.
        version: the id of its latest version.
        official: whether it runs by its name.
        typical_seconds: how long a prediction usually takes.
        schemas: by name; `Input` and `Output` are among them.
        charge: from the input and the metrics to what a success costs, in US dollars.
        extension: from the input to the extension of what it makes.
        gives: the form of its output: `uri`, `array<uri>`, `text`, or a kind of fault that decides it.
        limits_with_reference: the greatest values of inputs beside a reference image.
        reference_param: the input that takes reference images.
        metrics: what it shows beside the usual ones.
        by_time: whether its price follows the time it ran.
        schema_shown: whether its schema is published.
        data_uris_only: whether it fails on addresses of the files API.
    """

    name: str
    version: str
    official: bool
    typical_seconds: float
    schemas: Json
    charge: Callable[[Mapping[str, Any], Mapping[str, Any]], float]
    extension: Callable[[Mapping[str, Any]], str]
    gives: str
    description: str = ""
    private: bool = False
    alias: str | None = None
    reference_param: str | None = None
    limits_with_reference: Mapping[str, float] = field(default_factory=dict)
    metrics: Json = field(default_factory=dict)
    by_time: bool = False
    schema_shown: bool = True
    data_uris_only: bool = False

    @property
    def inputs(self) -> Json:
        """The schema of each input."""
        properties: Json = self.schemas["Input"].get("properties", {})
        return properties

    @cached_property
    def secrets(self) -> frozenset[str]:
        """The inputs that rows never show."""
        return frozenset(
            name
            for name, schema in self.inputs.items()
            if schema.get("format") == "password" or "x-cog-secret" in schema
        )

    @property
    def defaults(self) -> Json:
        """The inputs that have a default, with it."""
        return {name: schema["default"] for name, schema in self.inputs.items() if "default" in schema}

    @property
    def gives_list(self) -> bool:
        """Whether its output is a list, even of one."""
        return self.gives == "array<uri>" or self.schemas["Output"].get("type") == "array"


def of_catalog(model: Model) -> Hosted:
    """A model of the catalogue; one pinned to a version is a community model."""
    name, _, version = model.address.removeprefix(DEPLOYMENT).partition(":")
    specs = model.inputs.values()
    limits = {spec.name: spec.maximum_with_reference for spec in specs if spec.maximum_with_reference is not None}
    return Hosted(
        name=name,
        version=version or version_id(name),
        official=not version,
        typical_seconds=model.typical_seconds,
        schemas=_schemas_of(model),
        charge=lambda inputs, metrics: model.cost_usd(inputs, metrics.get("predict_time", 0.0)) or 0.0,
        extension=model.extension,
        gives=_gives(model),
        description=model.specialization,
        reference_param=model.reference_param,
        limits_with_reference=limits,
        by_time=model.price_unit == "gpu_second",
    )


def of_spec(name: str, spec: ModelSpec) -> Hosted:
    """A model that was registered."""
    inputs = {"type": "object", "title": "Input", "required": spec.required, "properties": spec.inputs}

    def extension(given: Mapping[str, Any]) -> str:
        asked = str(given.get("output_format", "png"))
        return "jpg" if asked == "jpeg" else asked

    return Hosted(
        name=name,
        version=spec.version or version_id(name),
        official=spec.official,
        typical_seconds=spec.typical_seconds,
        schemas={"Input": inputs, "Output": {"title": "Output", **spec.output}, **spec.schemas},
        charge=spec.price.charge,
        extension=extension,
        gives=spec.gives,
        description=spec.description,
        private=spec.private,
        alias=spec.alias,
        metrics=spec.metrics,
        by_time=spec.price.per == "gpu_second",
        schema_shown=spec.schema_shown,
        data_uris_only=spec.data_uris_only,
    )


def version_id(name: str) -> str:
    """64 hexadecimal digits of a model's own."""
    return hashlib.sha256(name.encode()).hexdigest()


def _schemas_of(model: Model) -> Json:
    specs = model.inputs.values()
    inputs = {
        "type": "object",
        "title": "Input",
        "required": [spec.name for spec in specs if spec.required],
        "properties": {spec.name: _property(spec, order) for order, spec in enumerate(specs)},
    }
    choices = {
        spec.name: {"type": spec.type, "title": spec.name, "enum": list(spec.enum)} for spec in specs if spec.enum
    }
    return {"Input": inputs, "Output": _output_schema(model), **choices}


def _gives(model: Model) -> str:
    """The form of its output."""
    if model.output is None:
        return "text" if model.kind == "text" else "uri"
    return {"array<text>": "text-pieces", "json": "output-masks"}.get(model.output, model.output)


def _property(spec: InputSpec, order: int) -> Json:
    schema: Json = {**_type_of(spec.type), "title": spec.name, "x-order": order}
    if spec.type == "array":
        schema["items"] = _type_of(spec.items)
    if spec.any_of:
        schema["anyOf"] = [_property(each, order) for each in spec.any_of]
    if spec.nullable:
        schema["nullable"] = True
    if spec.enum:  # as Cog writes it
        schema = {"allOf": [{"$ref": f"#/components/schemas/{spec.name}"}], "x-order": order}
    optional = {"minimum": spec.minimum, "maximum": spec.maximum, "default": spec.default}
    return schema | {key: value for key, value in optional.items() if value is not None}


def _type_of(kind: str) -> Json:
    match kind:
        case "uri":
            return {"type": "string", "format": "uri"}
        case "secret":
            return {"type": "string", "format": "password", "writeOnly": True, "x-cog-secret": True}
        case "any":
            return {}
    return {"type": kind}


def _output_schema(model: Model) -> Json:
    if model.has_output_text:
        return {"type": "string", "title": "Output"}
    if model.output == "json":
        return {"type": "object", "title": "Output"}
    uri = {"type": "string", "format": "uri", "title": "Output"}
    return {"type": "array", "items": uri, "title": "Output"} if model.output == "array<uri>" else uri
