"""Routing: what the model that stands in is given."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replibatch.errors import ReferenceImageError, RequestError
from replibatch.requests import RoutedRequest
from replibatch.routing import inputs_for
from tests.support.catalogue import FLUX, IMAGEN, KONTEXT, NANO, QWEN, ULTRA
from tests.support.routes import CATALOG, A, B, routed, sent


@pytest.mark.parametrize(
    ("asked", "kwargs", "next_model", "inputs", "left_out"),
    [
        (FLUX, {"aspect_ratio": "21:9"}, KONTEXT, {"aspect_ratio": "21:9"}, []),
        (FLUX, {"aspect_ratio": "21:9"}, QWEN, {}, ["aspect_ratio is '21:9'"]),
        (FLUX, {"guidance": 2, "go_fast": False}, QWEN, {"guidance": 2, "go_fast": False}, []),
        (FLUX, {"guidance": 2, "megapixels": "1"}, KONTEXT, {}, ["'guidance'", "'megapixels'"]),
        (
            FLUX,
            {"image": A, "prompt_strength": 0.4},
            QWEN,
            {"image": A, "strength": 0.4},
            ["'prompt_strength' is sent"],
        ),
        (QWEN, {"image": A, "strength": 0.4}, FLUX, {"image": A, "prompt_strength": 0.4}, ["'strength' is sent"]),
        (QWEN, {"image": A}, KONTEXT, {"input_image": A}, ["'image' is sent"]),
        (QWEN, {"image": A}, IMAGEN, {}, ["'image'"]),
        (QWEN, {"enhance_prompt": True}, KONTEXT, {"prompt_upsampling": True}, ["'enhance_prompt' is sent"]),
        (QWEN, {"image_size": "optimize_for_speed"}, IMAGEN, {}, ["image_size is 'optimize_for_speed'"]),
        (KONTEXT, {"input_image": A}, NANO, {"image_input": [A]}, []),
        (NANO, {"image_input": [A]}, KONTEXT, {"input_image": A}, []),
        (ULTRA, {"image_prompt": A}, KONTEXT, {"input_image": A}, []),
        (ULTRA, {"image_prompt": A, "safety_tolerance": 5}, KONTEXT, {"input_image": A}, ["safety_tolerance is 5"]),
        (ULTRA, {"safety_tolerance": 5}, KONTEXT, {"safety_tolerance": 5}, []),
    ],
)
def test_inputs_carry_over(
    asked: str, kwargs: dict[str, Any], next_model: str, inputs: dict[str, Any], left_out: list[str]
) -> None:
    carried, warnings = sent(next_model, asked, **kwargs)
    assert carried == inputs
    assert len(warnings) == len(left_out)
    assert all(part in warning for part, warning in zip(left_out, warnings, strict=True))


@pytest.mark.parametrize(
    ("next_model", "output", "kwargs", "format"),
    [
        (KONTEXT, "a.jpg", {}, "jpg"),
        (KONTEXT, "a.webp", {"output_format": "webp"}, None),
        (QWEN, "a.webp", {"output_format": "webp"}, "webp"),
    ],
)
def test_fallback_is_asked_for_the_format_of_the_name(
    next_model: str, output: str, kwargs: dict[str, Any], format: str | None
) -> None:
    carried, warnings = sent(next_model, FLUX, output=output, **kwargs)
    assert (carried.get("output_format"), warnings) == (format, [])


def test_more_reference_images_than_the_model_takes_are_never_dropped() -> None:
    with pytest.raises(ReferenceImageError, match=f"2 reference images for {KONTEXT}"):
        sent(KONTEXT, NANO, image_input=[A, B])
    with pytest.raises(ReferenceImageError, match=f"a reference image for {IMAGEN}; allowed: none"):
        sent(IMAGEN, NANO, image_input=A)


def test_safety_checker_is_switched_off_only_where_opted_in() -> None:
    off = {"disable_safety_checker": True}
    assert sent(FLUX, QWEN)[0] == {}
    assert sent(FLUX, QWEN, safety_off=True)[0] == off
    assert sent(FLUX, QWEN, safety_off=True, disable_safety_checker=False)[0] == {"disable_safety_checker": False}
    assert sent(QWEN, FLUX, safety_off=True)[0] == {}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([A, "16:9", "true", "3"]),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)
NAMES = st.sampled_from(sorted({name for model in CATALOG.models.values() for name in model.inputs} - {"prompt"}))


@given(model=st.sampled_from(sorted(CATALOG.models)), kwargs=st.dictionaries(NAMES, VALUES, max_size=5))
def test_whatever_is_asked_is_refused_in_words_or_fits_every_model(model: str, kwargs: dict[str, Any]) -> None:
    try:
        way = routed(model, **kwargs)
    except RequestError as error:
        assert "\n" not in str(error)
        return
    json.dumps([way.inputs, way.references], allow_nan=False)
    request = RoutedRequest("id", "a fox", model, way.model.name, way.inputs, tuple(way.references), "a")
    for candidate in CATALOG.subset(way.model.name).values():
        if candidate.reference_max >= len(way.references):
            inputs, _ = inputs_for(candidate, request)
            assert inputs.keys() <= candidate.inputs.keys() or not candidate.inputs_known
            for name, value in inputs.items():
                assert name not in candidate.inputs or candidate.inputs[name].coerce(value) == value
            usd = candidate.cost_usd(inputs)
            assert usd is not None and usd > 0
