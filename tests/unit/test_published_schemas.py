"""A published schema becomes the inputs of a model of the user's own."""

from __future__ import annotations

from typing import Any

import pytest

from replibatch.catalog import Model
from replibatch.catalog.published import Published
from replibatch.catalog.schemas import MalformedSchema, inputs_from, output_from

SCHEMA: dict[str, Any] = {  # as Cog writes them, abridged
    "components": {
        "schemas": {
            "Input": {
                "type": "object",
                "required": ["prompt", "mask"],
                "properties": {
                    "prompt": {"type": "string", "title": "Prompt", "x-order": 0},
                    "mask": {"type": "string", "format": "uri", "description": "A mask."},
                    "steps": {"type": "integer", "default": 28, "minimum": 1, "maximum": 50},
                    "guidance": {"type": "number", "default": 3.5},
                    "go_fast": {"type": "boolean", "default": True},
                    "style": {"allOf": [{"$ref": "#/components/schemas/style"}], "default": "ink"},
                    "seed": {"anyOf": [{"type": "integer"}, {"type": "null"}], "title": "Seed"},
                    "image_input": {"type": "array", "items": {"type": "string", "format": "uri"}, "default": []},
                    "weights": {"type": "array", "items": {"type": "number"}},
                    "odd": {"allOf": [{"$ref": "#/components/schemas/style"}], "default": "none of them"},
                    "extra": {"type": "object"},
                    "anything": {},
                },
            },
            "style": {"type": "string", "title": "style", "enum": ["ink", "wash"]},
        }
    }
}


def test_every_kind_of_input_is_read() -> None:
    assert inputs_from(SCHEMA) == {
        "prompt": {"type": "string", "required": True},
        "mask": {"type": "uri", "required": True},
        "steps": {"type": "integer", "default": 28, "minimum": 1, "maximum": 50},
        "guidance": {"type": "number", "default": 3.5},
        "go_fast": {"type": "boolean", "default": True},
        "style": {"type": "string", "enum": ["ink", "wash"], "default": "ink"},
        "seed": {"type": "integer", "nullable": True},
        "image_input": {"type": "array", "items": "uri", "default": []},
        "weights": {"type": "array", "items": "number"},
        "odd": {"type": "string", "enum": ["ink", "wash"]},
        "extra": {"type": "object"},
        "anything": {"type": "any"},
    }


def one(schema: Any, **schemas: Any) -> Any:
    return inputs_from({"components": {"schemas": {"Input": {"properties": {"x": schema}}, **schemas}}})["x"]


@pytest.mark.parametrize(
    ("schema", "table"),
    [
        ({"type": ["integer", "null"], "default": 3}, {"type": "integer", "default": 3, "nullable": True}),
        ({"type": "integer", "nullable": True}, {"type": "integer", "nullable": True}),
        ({"oneOf": [{"type": "null"}, {"type": "string"}]}, {"type": "string", "nullable": True}),
        ({"type": "string", "enum": ["a", None]}, {"type": "string", "enum": ["a"], "nullable": True}),
        ({"const": "a", "type": "string"}, {"type": "string", "enum": ["a"]}),
        ({"type": "string", "format": "password"}, {"type": "secret"}),
        ({"anyOf": [{"type": "string", "x-cog-secret": True}, {"type": "null"}]}, {"type": "secret"}),
        ({"type": "array", "items": {"type": "object"}}, {"type": "array", "items": "object"}),
        (
            {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
            {"type": "array", "items": "array"},
        ),
        ({"type": "array"}, {"type": "array", "items": "any"}),
        (
            {"anyOf": [{"type": "string"}, {"type": "number", "maximum": 2}]},
            {"type": "any", "any_of": [{"type": "string"}, {"type": "number", "maximum": 2}]},
        ),
        ({"type": ["integer", "string"]}, {"type": "any", "any_of": [{"type": "integer"}, {"type": "string"}]}),
        ({"$ref": "#/components/schemas/choice"}, {"type": "string", "enum": ["p", "q"]}),
        ({"type": "integer", "minimum": "one"}, {"type": "integer"}),
        ({"type": "integer", "minimum": 9, "maximum": 1}, {"type": "integer"}),
        ({"type": "string", "minimum": 1}, {"type": "string"}),
        ({"type": "string", "enum": {"a": 1}}, {"type": "string"}),
        ({"type": "date"}, {"type": "any"}),
        ("none", {"type": "any"}),
        ({"$ref": "#/components/schemas/x"}, {"type": "any"}),
        ({"$ref": "#/components/schemas/itself"}, {"type": "any"}),
        (True, {"type": "any"}),
    ],
)
def test_every_form_of_a_schema_becomes_an_input(schema: Any, table: dict[str, Any]) -> None:
    schemas = {
        "choice": {"type": "string", "enum": ["p", "q"]},
        "itself": {"allOf": [{"$ref": "#/components/schemas/itself"}]},
    }
    found = one(schema, **schemas)
    assert found == table
    Model.from_json({"name": "me/mine", "kind": "image", "inputs": {"x": found}})


@pytest.mark.parametrize(
    "schema",
    [None, {}, [], "x", {"components": {}}, {"components": {"schemas": {"Input": []}}}]
    + [{"components": {"schemas": {"Input": {"properties": wrong}}}} for wrong in ("x", [1], 5)],
)
def test_a_malformed_schema_is_an_error_of_that_model_alone(schema: Any) -> None:
    with pytest.raises(MalformedSchema):
        inputs_from(schema)
    published = Published.of("me/mine", {"is_official": True}, {"id": "v", "openapi_schema": schema})
    assert published.inputs is None and published.problem.startswith("its schema could not be read: ")
    assert published.table() == {}


def test_a_schema_that_is_nested_without_end_harms_nothing() -> None:
    deep: Any = {"type": "string"}
    for _ in range(5000):
        deep = {"allOf": [deep]}
    assert one(deep) == {"type": "any"}


URI = {"type": "string", "format": "uri"}


@pytest.mark.parametrize(
    ("output", "table"),
    [
        (URI, {"output": "uri"}),
        ({"type": "array", "items": URI}, {"output": "array<uri>"}),
        ({"type": "string"}, {"output": "text"}),
        ({"type": "array", "items": {"type": "string"}, "x-cog-array-type": "iterator"}, {"output": "text"}),
        ({"type": "array", "items": {"type": "string"}}, {"output": "array<text>"}),
        ({"type": "number"}, {"output": "json"}),
        (
            {"type": "object", "properties": {"mask": URI, "score": {"type": "number"}}},
            {"output": "json", "output_files": ["mask"]},
        ),
        (
            {"type": "array", "items": {"$ref": "#/components/schemas/Mask"}},
            {"output": "json", "output_files": ["*.mask"]},
        ),
        ({"type": "object"}, {}),
        ({}, {}),
    ],
)
def test_what_an_output_is(output: Any, table: dict[str, Any]) -> None:
    mask = {"type": "object", "properties": {"mask": {"allOf": [URI]}, "label": {"type": "string"}}}
    assert output_from({"components": {"schemas": {"Input": {}, "Output": output, "Mask": mask}}}) == table
