"""The checks Replicate makes by a model's JSON schema before it accepts a create, and how it shows the model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from replibatch.sandbox.hosting import Hosted
from replibatch.sandbox.replies import InvalidField

Json = dict[str, Any]
TOP_LEVEL_KEYS = frozenset({"version", "input", "webhook", "webhook_events_filter", "stream"})
EVENTS = ("start", "output", "logs", "completed")
_FILE_SCHEMES = frozenset({"http", "https", "data"})
_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


def problems_of_body(body: Any, *, version_wanted: bool) -> list[InvalidField]:
    """The mistakes in the JSON of a create, apart from the input's own fields.

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
    if "webhook" in body and _scheme(str(body["webhook"])) not in ("http", "https"):
        problems.append(InvalidField("format", "webhook", "Does not match format 'uri'"))
    events = body.get("webhook_events_filter", [])
    if not isinstance(events, list) or any(event not in EVENTS for event in events):
        allowed_events = ", ".join(json.dumps(event) for event in EVENTS)
        problems.append(
            InvalidField("enum", "webhook_events_filter", f"must be one of the following: {allowed_events}")
        )
    return problems


def problems_of_input(model: Hosted, inputs: Json) -> list[InvalidField]:
    """The mistakes in an input. Inputs the model does not know are let through, as Replicate does."""
    problems = [
        InvalidField("required", "input", f"{name} is required")
        for name in model.schemas["Input"].get("required", ())
        if name not in inputs
    ]
    with_reference = bool(model.reference_param and inputs.get(model.reference_param))
    for name, value in inputs.items():
        if name in model.inputs:
            schema = _resolved(model, model.inputs[name])
            if with_reference and name in model.limits_with_reference:
                schema = schema | {"maximum": model.limits_with_reference[name]}
            problems += _problems_of_value(model, schema, f"input.{name}", value)
    return problems


def _resolved(model: Hosted, schema: Json) -> Json:
    """The schema with what it refers to in its place."""
    parts = [*schema.get("allOf", ()), *([schema] if "$ref" in schema else ())]
    merged = {key: value for key, value in schema.items() if key not in ("allOf", "$ref")}
    for part in parts:
        named = model.schemas.get(part.get("$ref", "").rpartition("/")[2], {}) if "$ref" in part else part
        merged = {**_resolved(model, named), **merged}
    return merged


def _problems_of_value(model: Hosted, schema: Json, field: str, value: Any) -> Iterator[InvalidField]:
    if value is None and schema.get("nullable"):
        return
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        tried = [list(_problems_of_value(model, _resolved(model, choice), field, value)) for choice in choices]
        yield from tried[0] if all(tried) else ()
    elif problem := _problem_of_type(schema, field, value):
        yield problem
    else:
        yield from _problems_of_parts(model, schema, field, value)
        yield from _problems_of_bounds(schema, field, value)


def _problems_of_parts(model: Hosted, schema: Json, field: str, value: Any) -> Iterator[InvalidField]:
    if isinstance(value, list) and "items" in schema:
        items = _resolved(model, schema["items"])
        for place, item in enumerate(value):
            yield from _problems_of_value(model, items, f"{field}.{place}", item)
    if isinstance(value, dict):
        for name in schema.get("required", ()):
            if name not in value:
                yield InvalidField("required", field, f"{name} is required")
        for name, part in schema.get("properties", {}).items():
            if name in value:
                yield from _problems_of_value(model, _resolved(model, part), f"{field}.{name}", value[name])


def _problems_of_bounds(schema: Json, field: str, value: Any) -> Iterator[InvalidField]:
    if "enum" in schema and value not in schema["enum"]:
        allowed = ", ".join(json.dumps(item) for item in schema["enum"])
        yield InvalidField("enum", field, f"{field} must be one of the following: {allowed}")
    if "minimum" in schema and value < schema["minimum"]:
        yield InvalidField("number_gte", field, f"Must be greater than or equal to {schema['minimum']:g}")
    if "maximum" in schema and value > schema["maximum"]:
        yield InvalidField("number_lte", field, f"Must be less than or equal to {schema['maximum']:g}")


def _problem_of_type(schema: Json, field: str, value: Any) -> InvalidField | None:
    expected = schema.get("type")
    if expected is None:
        return None
    if not _is_a(expected, value):
        return _wrong_type(field, expected, value)
    if schema.get("format") == "uri" and _scheme(value) not in _FILE_SCHEMES:
        return InvalidField("format", field, "Does not match format 'uri'")
    return None


def _scheme(address: str) -> str:
    """The scheme of an address; empty for one that is none."""
    try:
        return urlsplit(address).scheme
    except ValueError:
        return ""


def _is_a(expected: str | list[str], value: Any) -> bool:
    if isinstance(expected, list):
        return any(_is_a(each, value) for each in expected)
    if expected == "null":
        return value is None
    if expected == "number":
        return _JSON_TYPES.get(type(value)) in ("number", "integer")
    if expected == "integer" and isinstance(value, float):
        return value.is_integer()
    return _JSON_TYPES.get(type(value)) == expected


def _wrong_type(field: str, expected: str | list[str], value: Any) -> InvalidField:
    given = _JSON_TYPES.get(type(value), "null")
    return InvalidField("invalid_type", field, f"Invalid type. Expected: {expected}, given: {given}")


def _document(model: Hosted) -> Json:
    return {
        "openapi": "3.0.2",
        "info": {"title": "Cog", "version": "0.1.0"},
        "paths": {},
        "components": {"schemas": model.schemas},
    }


def model_view(model: Hosted) -> Json:
    """A model as `GET /v1/models/{owner}/{name}` shows it, the schema of its inputs included."""
    owner, name = model.name.split("/", 1)
    return {
        "url": f"https://replicate.com/{owner}/{name}",
        "owner": owner,
        "name": name,
        "description": model.description,
        "visibility": "private" if model.private else "public",
        "is_official": model.official,
        "github_url": None,
        "paper_url": None,
        "license_url": None,
        "run_count": 0,
        "cover_image_url": None,
        "default_example": None,
        "latest_version": {
            "id": model.version,
            "created_at": "2026-01-01T00:00:00.000000Z",
            "cog_version": "0.16.0",
            "openapi_schema": _document(model) if model.schema_shown else None,
        },
    }
