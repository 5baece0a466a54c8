"""A model's inputs as JSON schema, and the checks Replicate makes by it before it accepts a create."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from replibatch.catalog import InputSpec, Model
from replibatch.sandbox.predictions import version_of
from replibatch.sandbox.replies import InvalidField

TOP_LEVEL_KEYS = frozenset({"version", "input", "webhook", "webhook_events_filter", "stream"})
_FILE_SCHEMES = frozenset({"http", "https", "data"})
_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


def problems_of_body(body: Any, *, version_wanted: bool) -> list[InvalidField]:
    """What is wrong with the JSON of a create, apart from the input's own fields.

    Args:
        body: as it was sent.
        version_wanted: whether it must name the model.
    """
    if not isinstance(body, dict):
        return [_wrong_type("(root)", "object", body)]
    wanted = ("version", "input") if version_wanted else ("input",)
    problems = [InvalidField("required", "(root)", f"{key} is required") for key in wanted if key not in body]
    allowed = TOP_LEVEL_KEYS if version_wanted else TOP_LEVEL_KEYS - {"version"}
    problems += [
        InvalidField("additional_property_not_allowed", "(root)", f"Additional property {key} is not allowed")
        for key in body
        if key not in allowed
    ]
    if "input" in body and not isinstance(body["input"], dict):
        problems.append(_wrong_type("input", "object", body["input"]))
    if version_wanted and not isinstance(body.get("version", ""), str):
        problems.append(_wrong_type("version", "string", body["version"]))
    return problems


def problems_of_input(model: Model, inputs: dict[str, Any]) -> list[InvalidField]:
    """What is wrong with an input. Inputs the model does not know are let through, as Replicate does."""
    problems = [
        InvalidField("required", "input", f"{spec.name} is required")
        for spec in model.inputs.values()
        if spec.required and spec.name not in inputs
    ]
    with_reference = bool(model.reference_param and inputs.get(model.reference_param))
    for name, value in inputs.items():
        if spec := model.inputs.get(name):
            problems += _problems_of_value(spec, value, with_reference=with_reference)
    return problems


def _problems_of_value(spec: InputSpec, value: Any, *, with_reference: bool) -> Iterator[InvalidField]:
    field = f"input.{spec.name}"
    if problem := _problem_of_type(spec.type, field, value):
        yield problem
        return
    if spec.type == "array":
        for place, item in enumerate(value):
            if problem := _problem_of_type(spec.items, f"{field}.{place}", item):
                yield problem
    if spec.enum and value not in spec.enum:
        allowed = ", ".join(json.dumps(item) for item in spec.enum)
        yield InvalidField("enum", field, f"{field} must be one of the following: {allowed}")
    if spec.minimum is not None and value < spec.minimum:
        yield InvalidField("number_gte", field, f"Must be greater than or equal to {spec.minimum:g}")
    highest = spec.maximum
    if with_reference and spec.maximum_with_reference is not None:
        highest = spec.maximum_with_reference
    if highest is not None and value > highest:
        yield InvalidField("number_lte", field, f"Must be less than or equal to {highest:g}")


def _problem_of_type(expected: str, field: str, value: Any) -> InvalidField | None:
    json_type = "string" if expected == "uri" else expected
    if not _is_a(json_type, value):
        return _wrong_type(field, json_type, value)
    if expected == "uri" and urlsplit(value).scheme not in _FILE_SCHEMES:
        return InvalidField("format", field, "Does not match format 'uri'")
    return None


def _is_a(expected: str, value: Any) -> bool:
    if expected == "number":
        return _JSON_TYPES.get(type(value)) in ("number", "integer")
    if expected == "integer" and isinstance(value, float):
        return value.is_integer()
    return _JSON_TYPES.get(type(value)) == expected


def _wrong_type(field: str, expected: str, value: Any) -> InvalidField:
    given = _JSON_TYPES.get(type(value), "null")
    return InvalidField("invalid_type", field, f"Invalid type. Expected: {expected}, given: {given}")


def model_view(model: Model) -> dict[str, Any]:
    """A model as `GET /v1/models/{owner}/{name}` shows it, the schema of its inputs included."""
    owner, name = model.name.partition(":")[0].split("/", 1)
    return {
        "url": f"https://replicate.com/{owner}/{name}",
        "owner": owner,
        "name": name,
        "description": model.specialization,
        "visibility": "public",
        "is_official": ":" not in model.name,
        "github_url": None,
        "paper_url": None,
        "license_url": None,
        "run_count": 0,
        "cover_image_url": None,
        "default_example": None,
        "latest_version": {
            "id": version_of(model),
            "created_at": "2026-01-01T00:00:00.000000Z",
            "cog_version": "0.16.0",
            "openapi_schema": _openapi_schema(model),
        },
    }


def _openapi_schema(model: Model) -> dict[str, Any]:
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
    return {
        "openapi": "3.0.2",
        "info": {"title": "Cog", "version": "0.1.0"},
        "paths": {},
        "components": {"schemas": {"Input": inputs, "Output": _output_schema(model), **choices}},
    }


def _property(spec: InputSpec, order: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": spec.type, "title": spec.name, "x-order": order}
    if spec.type == "uri":
        schema |= {"type": "string", "format": "uri"}
    elif spec.type == "array":
        schema["items"] = {"type": "string", "format": "uri"} if spec.items == "uri" else {"type": spec.items}
    if spec.enum:  # as Cog writes it
        schema = {"allOf": [{"$ref": f"#/components/schemas/{spec.name}"}], "x-order": order}
    optional = {"minimum": spec.minimum, "maximum": spec.maximum, "default": spec.default}
    return schema | {key: value for key, value in optional.items() if value is not None}


def _output_schema(model: Model) -> dict[str, Any]:
    if model.output == "text":
        return {"type": "string", "title": "Output"}
    uri = {"type": "string", "format": "uri", "title": "Output"}
    return {"type": "array", "items": uri, "title": "Output"} if model.output == "array<uri>" else uri
