"""A published schema becomes the inputs of a model of the user's own."""

from __future__ import annotations

from typing import Any

from replibatch.producer.published_inputs import inputs_from

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
        "seed": {"type": "integer"},
        "image_input": {"type": "array", "items": "uri", "default": []},
        "weights": {"type": "array", "items": "number"},
        "odd": {"type": "string", "enum": ["ink", "wash"]},
    }


def test_a_schema_that_says_nothing_gives_nothing() -> None:
    for schema in ({}, {"components": {}}, {"components": {"schemas": {"Input": {}}}}):
        assert inputs_from(schema) == {}
