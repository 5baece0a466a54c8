"""The table that `models add` writes: what a model makes, how it is called, and TOML that reads back as it was."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replibatch.catalog.description import kind_of, table_for, to_toml, without
from replibatch.catalog.published import Published

URI = {"type": "uri"}


def published(address: str = "acme/thing", **more: Any) -> Published:
    return Published(address, version="ab" * 32, **{"is_official": True, "inputs": {}, **more})


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (published(output={"output": "text"}), "text"),
        (published(output={"output": "json"}), "file"),
        (published(example={"extensions": ["mp4"]}), "video"),
        (published(example={"extensions": ["png", "json"]}, description="segments a photo"), "image"),
        (published(inputs={"output_format": {"type": "string", "enum": ["wav", "mp3"]}}), "audio"),
        (published(inputs={"num_frames": {"type": "integer"}}), "video"),
        (published("acme/image-to-3d"), "3d"),
        (published("acme/text-to-speech"), "audio"),
        (published("acme/threed", description="Makes anything"), "file"),
    ],
)
def test_what_it_makes(found: Published, kind: str) -> None:
    assert kind_of(found) == kind


def test_how_it_is_called() -> None:
    inputs = {
        "lyrics": {"type": "string", "required": True},
        "image_input": {"type": "array", "items": "uri"},
        "hf_token": {"type": "secret"},
    }
    table = table_for(published(is_official=False, inputs=inputs, example={"seconds": 4.5}), {"kind": "audio"})
    source = table.pop("source")
    assert source.startswith("https://replicate.com/acme/thing, read 20")
    assert table == {
        "kind": "audio",
        "version": "ab" * 32,
        "typical_seconds": 4.5,
        "prompt_param": "lyrics",
        "reference_param": "image_input",
        "reference_max": 10,
        "inputs": {"hf_token": "secret"},
    }
    assert "reference_param" not in table_for(published(inputs={"image": URI}), {"kind": "image"})
    assert table_for(published(inputs={"image": URI}), {"kind": "video"})["reference_param"] == "image"


@given(st.dictionaries(st.text(min_size=1), st.text() | st.integers(-(2**60), 2**60) | st.booleans(), max_size=4))
def test_a_table_reads_back_as_it_was(inputs: dict[str, Any]) -> None:
    try:
        text = to_toml('acme/"odd"', {"kind": "image", "price_usd": 0.00006, "inputs": inputs})
        text.encode()
    except UnicodeEncodeError:
        return
    assert tomllib.loads(text) == {'acme/"odd"': {"kind": "image", "price_usd": 0.00006, **_inputs(inputs)}}


def _inputs(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"inputs": inputs} if inputs else {}


def test_one_table_is_taken_out_and_all_else_stays() -> None:
    text = (
        '# mine\n["acme/a"]\nkind = "image"\n\n["acme/a".inputs]\nseed = "integer"\n\n'
        "['acme/b']\nkind = 'video'\n[reference_images]\none = \"acme/a\"\n"
    )
    assert without(text, "acme/a") == "# mine\n['acme/b']\nkind = 'video'\n[reference_images]\none = \"acme/a\"\n"
    assert without(text, "acme/c") == text
