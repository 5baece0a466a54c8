"""Routing: what the model is given, in which format, with which seed, and what is refused or left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from replibatch.catalog import InputSpec, load
from replibatch.errors import OutputPathError, RequestError
from replibatch.requests import RoutedRequest
from replibatch.routing import inputs_for
from tests.support.catalogue import FLUX, IMAGEN, KONTEXT, NANO, QWEN, ULTRA, VEO
from tests.support.routes import CATALOG, A, refused, routed, sent


@pytest.mark.parametrize(
    ("model", "kwargs", "typed"),
    [
        (FLUX, {"num_outputs": "2"}, {"num_outputs": 2}),
        (FLUX, {"num_outputs": 2.0}, {"num_outputs": 2}),
        (FLUX, {"guidance": "3.5"}, {"guidance": 3.5}),
        (FLUX, {"guidance": 3}, {"guidance": 3}),
        (
            FLUX,
            {"go_fast": "false", "disable_safety_checker": " TRUE "},
            {"go_fast": False, "disable_safety_checker": True},
        ),
        (FLUX, {"megapixels": 1}, {"megapixels": "1"}),
        (FLUX, {"strength": 0.5}, {"prompt_strength": 0.5}),
        (VEO, {"duration": "6"}, {"duration": 6}),
        (QWEN, {"negative_prompt": ""}, {"negative_prompt": ""}),
        (QWEN, {"negative_prompt": "5"}, {"negative_prompt": "5"}),
        (QWEN, {"extra_lora_scale": "[0.5, 1]"}, {"extra_lora_scale": [0.5, 1]}),
        (QWEN, {"extra_lora_scale": ["0.5", "1"]}, {"extra_lora_scale": [0.5, 1]}),
        (QWEN, {"extra_lora_weights": "a/b"}, {"extra_lora_weights": ["a/b"]}),
        (QWEN, {"extra_lora_weights": "[draft"}, {"extra_lora_weights": ["[draft"]}),
        (FLUX, {"seed": "7"}, {"seed": 7}),
        (FLUX, {"seed": None, "guidance": None}, {}),
    ],
)
def test_values_are_read_as_the_model_takes_them(model: str, kwargs: dict[str, Any], typed: dict[str, Any]) -> None:
    inputs, _ = sent(model, model, **kwargs)
    if kwargs.get("seed", 0) is None:
        inputs.pop("seed")
    assert inputs == typed
    assert {name: type(value) for name, value in inputs.items()} == {k: type(v) for k, v in typed.items()}


@pytest.mark.parametrize(
    ("model", "kwargs", "said"),
    [
        (FLUX, {"num_outputs": 5}, f"{FLUX}: num_outputs is 5; allowed: an integer from 1 to 4"),
        (FLUX, {"num_outputs": 0}, f"{FLUX}: num_outputs is 0; allowed: an integer from 1 to 4"),
        (FLUX, {"num_outputs": 1.5}, f"{FLUX}: num_outputs is 1.5; allowed: an integer from 1 to 4"),
        (FLUX, {"num_outputs": True}, f"{FLUX}: num_outputs is True; allowed: an integer from 1 to 4"),
        (FLUX, {"num_outputs": "many"}, f"{FLUX}: num_outputs is 'many'; allowed: an integer from 1 to 4"),
        (FLUX, {"guidance": "NaN"}, f"{FLUX}: guidance is 'NaN'; allowed: a number from 0 to 10"),
        (FLUX, {"guidance": float("inf")}, "'guidance' is inf; allowed: finite numbers"),
        (FLUX, {"guidance": [3]}, f"{FLUX}: guidance is [3]; allowed: a number from 0 to 10"),
        (FLUX, {"go_fast": "maybe"}, f"{FLUX}: go_fast is 'maybe'; allowed: true or false"),
        (FLUX, {"go_fast": 1}, f"{FLUX}: go_fast is 1; allowed: true or false"),
        (FLUX, {"seed": 1.5}, f"{FLUX}: seed is 1.5; allowed: an integer"),
        (NANO, {"seed": "x"}, "seed is 'x'; allowed: an integer"),
        (IMAGEN, {"aspect_ratio": "2:1"}, f"{IMAGEN}: aspect_ratio is '2:1'; allowed: 1:1, 9:16, 16:9, 3:4, 4:3"),
        (VEO, {"duration": 5}, f"{VEO}: duration is 5; allowed: 4, 6, 8"),
        (VEO, {"duration": True}, f"{VEO}: duration is True; allowed: 4, 6, 8"),
        (QWEN, {"negative_prompt": 5}, f"{QWEN}: negative_prompt is 5; allowed: text"),
        (QWEN, {"extra_lora_scale": ["x"]}, f"{QWEN}: extra_lora_scale is ['x']; allowed: a list, each of"),
        (QWEN, {"negative_prompt": ["x" * 500]}, "…; allowed: text"),
        (KONTEXT, {"safety_tolerance": 7}, f"{KONTEXT}: safety_tolerance is 7; allowed: an integer from 0 to 6"),
        (
            KONTEXT,
            {"safety_tolerance": 3, "input_image": A},
            f"{KONTEXT}: safety_tolerance is 3; allowed: an integer from 0 to 2 with a reference image",
        ),
        (FLUX, {"safety_tolerance": 3, "input_image": A}, f"{KONTEXT}: safety_tolerance is 3; allowed"),
        (FLUX, {"prompt": "another"}, "prompt is given twice"),
    ],
)
def test_bad_values_are_refused(model: str, kwargs: dict[str, Any], said: str) -> None:
    assert said in refused(RequestError, model, **kwargs)


def test_true_is_not_the_number_one() -> None:
    with pytest.raises(RequestError, match=r"^scale is True; allowed: 1, 2$"):
        InputSpec(name="scale", type="integer", enum=(1, 2)).coerce(True)


def test_unknown_inputs_are_left_out_with_a_warning() -> None:
    way = routed(IMAGEN, output_quality=90, aspect_ration="1:1")
    assert way.model.name == IMAGEN
    assert way.inputs.keys() == {"(seed)"}
    assert way.warnings == [
        f"{IMAGEN} has no input 'output_quality'; left out",
        f"{IMAGEN} has no input 'aspect_ration'; left out (did you mean 'aspect_ratio'?)",
    ]


def test_model_is_switched_for_inputs_along_its_edge_only() -> None:
    way = routed(KONTEXT, guidance=3.5, num_outputs=2, safety_tolerance=2)
    assert way.model.name == QWEN
    assert way.inputs["guidance"] == 3.5
    assert way.warnings == [
        f"{QWEN} instead of {KONTEXT}, for 'guidance'",
        f"{QWEN} has no input 'num_outputs'; left out",
        f"{QWEN} has no input 'safety_tolerance'; left out",
    ]
    assert routed(KONTEXT, num_outputs=2).model.name == KONTEXT, "the other would not take it either"
    assert routed(KONTEXT, guidance=3.5, input_image=A).model.name == KONTEXT, "not with a reference image"
    assert routed(ULTRA, guidance=3.5).model.name == ULTRA, "it has no such edge"
    assert f"{QWEN}: guidance is 99" in refused(RequestError, KONTEXT, guidance=99)


def test_what_fits_the_asked_model_and_not_the_switched_one_is_left_out() -> None:
    way = routed(KONTEXT, guidance=3, aspect_ratio="21:9")
    assert "aspect_ratio" not in way.inputs
    assert any("aspect_ratio is '21:9'" in warning for warning in way.warnings)


def test_same_thing_given_twice_is_sent_once() -> None:
    way = routed(FLUX, strength=0.1, prompt_strength=0.9)
    assert way.inputs["prompt_strength"] == 0.9
    assert way.warnings == ["'strength' is left out: 'prompt_strength' is given too"]


def test_required_inputs() -> None:
    Path("replibatch.toml").write_text(
        '["me/mine"]\nkind = "video"\nprice_usd = 1\nprice_unit = "call"\nreference_param = "first"\n'
        'inputs_known = true\ninputs.prompt = "string"\n'
        'inputs.first = { type = "uri", required = true }\ninputs.voice = { type = "string", required = true }'
    )
    catalog = load()
    for kwargs, missing in (({"first": A}, "voice"), ({"voice": "low"}, "first")):
        with pytest.raises(RequestError, match=f"^me/mine: {missing} is missing; allowed: "):
            routed("me/mine", catalog=catalog, **kwargs)
    assert routed("me/mine", catalog=catalog, image=A, voice="low").references == [A]
    assert routed(FLUX, catalog=catalog, first=A).references == [A], "a user's name for it is known everywhere"


@pytest.mark.parametrize(
    ("model", "output", "kwargs", "format", "warned"),
    [
        (FLUX, "a.png", {}, "png", False),
        (FLUX, "a.JPEG", {}, "jpg", False),
        (KONTEXT, "a.webp", {}, None, False),
        (KONTEXT, "a.webp", {"output_format": "jpg"}, "jpg", False),
        (FLUX, "a.jpg", {"output_format": "jpg"}, "jpg", False),
        (FLUX, "a.jpg", {"output_format": "png"}, "jpg", True),
        (FLUX, "a", {"output_format": "png"}, "png", False),
        (FLUX, None, {}, None, False),
        (VEO, "a.mp4", {}, None, False),
    ],
)
def test_model_is_asked_for_the_format_of_the_name(
    model: str, output: str | None, kwargs: dict[str, Any], format: str | None, warned: bool
) -> None:
    way = routed(model, output, **kwargs)
    assert (way.inputs.get("output_format"), bool(way.warnings)) == (format, warned)


@pytest.mark.parametrize(
    ("model", "output", "said"),
    [
        (VEO, "clip.png", f"clip.png: {VEO} makes videos; allowed: a name ending in .mp4"),
        (FLUX, "fox.mp4", f"fox.mp4: {FLUX} makes images; allowed: a name ending in .webp"),
    ],
)
def test_names_that_no_conversion_would_suit(model: str, output: str, said: str) -> None:
    assert said in refused(OutputPathError, model, output)


def test_seed_is_drawn_once_and_holds_for_the_chain() -> None:
    seeds = set()
    for asked in [NANO, FLUX] * 10:
        way = routed(asked)
        request = RoutedRequest("id", "a fox", asked, asked, way.inputs, (), "a.png")
        for_chain = {inputs_for(CATALOG.get(name), request)[0]["seed"] for name in (FLUX, KONTEXT, QWEN)}
        assert len(for_chain) == 1
        assert "seed" not in inputs_for(CATALOG.get(NANO), request)[0]
        seeds |= for_chain
    assert len(seeds) == 20
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_given_seed_is_kept_for_the_models_that_take_one() -> None:
    assert sent(FLUX, seed=5)[0]["seed"] == 5
    assert sent(FLUX, NANO, seed="5")[0]["seed"] == 5
    assert routed(NANO, seed=5).warnings == [f"{NANO} has no input 'seed'; left out"]
