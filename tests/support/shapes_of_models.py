"""Models of many shapes for the stand-in: what each publishes, what is asked of it, and what it must be sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from replibatch.sandbox.hosting import ModelSpec

Json = dict[str, Any]

URI: Json = {"type": "string", "format": "uri"}
TEXT: Json = {"type": "string"}
PRICE: Json = {"usd": 0.01, "per": "call"}
PHOTO = "https://example.com/photo.png"


@dataclass(frozen=True)
class Shape:
    """One model, and one request to it.

    Attributes:
        spec: as it is registered at the stand-in.
        prompt: of the request; None for a model that takes none.
        inputs: of the request.
        sent: what the model must be given, the seed that is made up left out.
        makes: the extensions of the files that must be there.
    """

    spec: Json
    prompt: str | None
    inputs: Json
    sent: Json
    makes: tuple[str, ...] = ("png",)
    options: tuple[str, ...] = field(default=())

    @property
    def model(self) -> ModelSpec:
        return ModelSpec(price=PRICE, **self.spec)


MESSAGES = [
    {"role": "system", "content": [{"type": "text", "text": "be brief"}]},
    {"role": "user", "content": "name a fox; see https://example.com/fox"},
]

SHAPES: dict[str, Shape] = {
    "acme/image": Shape(
        {
            "inputs": {
                "prompt": TEXT,
                "aspect_ratio": {"allOf": [{"$ref": "#/components/schemas/aspect_ratio"}], "default": "1:1"},
                "seed": {"type": "integer", "nullable": True},
            },
            "required": ["prompt"],
            "schemas": {"aspect_ratio": {"type": "string", "enum": ["1:1", "16:9"]}},
        },
        "a fox",
        {"aspect_ratio": "16:9", "seed": "7"},
        {"prompt": "a fox", "aspect_ratio": "16:9", "seed": 7},
    ),
    "acme/video": Shape(
        {
            "inputs": {
                "prompt": TEXT,
                "image": URI,
                "duration": {"type": "integer", "enum": [5, 10], "default": 5},
                "with_audio": {"type": "boolean", "default": False},
            },
            "required": ["prompt"],
            "gives": "output-mp4",
        },
        "a fox runs",
        {"duration": 10, "with_audio": "yes", "start_image": PHOTO},
        {"prompt": "a fox runs", "duration": 10, "with_audio": True, "image": PHOTO},
        ("mp4",),
        ("--kind", "video"),
    ),
    "acme/speech": Shape(
        {
            "inputs": {
                "text": TEXT,
                "speed": {"type": "number", "minimum": 0.5, "maximum": 2, "default": 1},
                "emotion": {"oneOf": [{"type": "string", "enum": ["calm"]}, {"type": "null"}]},
            },
            "required": ["text"],
            "gives": "output-wav",
        },
        "hello there",
        {"speed": "1.5", "emotion": "calm"},
        {"text": "hello there", "speed": 1.5, "emotion": "calm"},
        ("wav",),
    ),
    "acme/chat": Shape(
        {
            "inputs": {
                "messages": {"type": "array", "items": {"type": "object"}},
                "max_tokens": {"type": "integer", "default": 512},
                "stop": {"anyOf": [TEXT, {"type": "array", "items": TEXT}]},
            },
            "required": ["messages"],
            "output": {
                "type": "array",
                "items": TEXT,
                "x-cog-array-type": "iterator",
                "x-cog-array-display": "concatenate",
            },
            "gives": "text-pieces",
        },
        None,
        {"messages": MESSAGES, "stop": ["END"]},
        {"messages": MESSAGES, "stop": ["END"]},
        ("txt",),
    ),
    "acme/mesh": Shape(
        {
            "inputs": {"images": {"type": "array", "items": URI}, "remesh": {"type": "boolean"}},
            "required": ["images"],
            "output": {"type": "object", "properties": {"mesh": URI, "faces": {"type": "integer"}}},
            "gives": "output-glb",
        },
        None,
        {"images": [PHOTO, PHOTO], "remesh": False},
        {"images": [PHOTO, PHOTO], "remesh": False},
        ("glb",),
        ("--kind", "3d"),
    ),
    "acme/upscaler": Shape(
        {
            "inputs": {"image": URI, "scale": {"type": "number", "minimum": 0, "maximum": 10, "default": 4}},
            "required": ["image"],
        },
        None,
        {"image": PHOTO, "scale": 2},
        {"image": PHOTO, "scale": 2},
    ),
    "acme/with-secret": Shape(
        {
            "inputs": {
                "prompt": TEXT,
                "hf_token": {"type": "string", "format": "password", "writeOnly": True, "x-cog-secret": True},
            },
            "required": ["prompt", "hf_token"],
        },
        "a fox",
        {"hf_token": "env:SECRET_OF_THE_TESTS"},
        {"prompt": "a fox", "hf_token": "hf_the-secret-of-the-tests"},
    ),
    "acme/community": Shape(
        {"inputs": {"prompt": TEXT}, "required": ["prompt"], "official": False, "version": "ab" * 32},
        "a fox",
        {},
        {"prompt": "a fox"},
    ),
    f"acme/old:{'cd' * 32}": Shape(
        {"inputs": {"prompt": TEXT, "n": {"type": "integer"}}, "official": False, "version": "cd" * 32},
        "a fox",
        {"n": 1},
        {"prompt": "a fox", "n": 1},
    ),
    "deployment:acme/prod": Shape(
        {"inputs": {"prompt": TEXT, "strength": {"type": "number"}}, "official": False, "version": "ef" * 32},
        "a fox",
        {"strength": "0.25"},
        {"prompt": "a fox", "strength": 0.25},
    ),
    "acme/segments": Shape(
        {
            "inputs": {
                "image": URI,
                "points": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
            },
            "required": ["image"],
            "output": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"mask": URI, "label": TEXT, "score": {"type": "number"}},
                },
            },
            "gives": "output-masks",
        },
        None,
        {"image": PHOTO, "points": [[1, 2.5], [3, 4]]},
        {"image": PHOTO, "points": [[1, 2.5], [3, 4]]},
        ("png", "png", "json"),
    ),
    "acme/nested": Shape(
        {
            "inputs": {"prompt": TEXT},
            "output": {"type": "array", "items": {"type": "array", "items": URI}},
            "gives": "output-nested",
        },
        "a fox",
        {},
        {"prompt": "a fox"},
        ("png", "png", "png"),
    ),
    "acme/scores": Shape(
        {
            "inputs": {"image": {"allOf": [URI]}, "detail": {"anyOf": [{"type": "number"}, {"enum": ["auto"]}]}},
            "required": ["image"],
            "output": {"type": "object", "properties": {"score": {"type": "number"}}},
            "gives": "output-object",
        },
        None,
        {"image": PHOTO, "detail": "auto"},
        {"image": PHOTO, "detail": "auto"},
        ("json",),
    ),
    "acme/object": Shape(
        {
            "inputs": {
                "prompt": TEXT,
                "config": {"type": "object", "properties": {"steps": {"type": "integer"}}},
                "extra": {},
                "size": {"type": ["integer", "string"]},
            },
        },
        "a fox",
        {"config": {"steps": 3, "deep": [{"er": None}]}, "extra": [1, {"two": 2}], "size": "auto"},
        {"prompt": "a fox", "config": {"steps": 3, "deep": [{"er": None}]}, "extra": [1, {"two": 2}], "size": "auto"},
    ),
    "acme/nullable": Shape(
        {
            "inputs": {
                "prompt": TEXT,
                "guidance": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": 3.5},
                "style": {"enum": ["ink", None], "type": "string"},
            },
        },
        "a fox",
        {"guidance": None, "style": "ink"},
        {"prompt": "a fox", "guidance": None, "style": "ink"},
    ),
    "acme/song": Shape(
        {
            "inputs": {"lyrics": TEXT, "reference": URI},
            "required": ["lyrics"],
            "gives": "output-flac",
        },
        "la la la",
        {"reference": "https://example.com/song.mp3"},
        {"lyrics": "la la la", "reference": "https://example.com/song.mp3"},
        ("flac",),
        ("--kind", "audio"),
    ),
}
