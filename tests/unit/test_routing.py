"""Routing: which model takes a request, what it is given, and what is refused before anything is spent."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from replibatch.catalog import Catalog, load
from replibatch.errors import OutputPathError, ReferenceImageError, RequestError
from replibatch.inputs import InputSpec
from replibatch.references import check_image
from replibatch.requests import BatchRequest, RoutedRequest
from replibatch.routing import Routed, inputs_for, located, route

DEV = "black-forest-labs/flux-dev"
KONTEXT = "black-forest-labs/flux-kontext-max"
ULTRA = "black-forest-labs/flux-1.1-pro-ultra"
QWEN = "qwen/qwen-image"
IMAGEN = "google/imagen-4-ultra"
NANO = "google/nano-banana"
VEO = "google/veo-3-fast"
KLING = "kwaivgi/kling-v2.1-master"

CATALOG = load()
A, B, C, D = (f"https://example.com/{letter}.png" for letter in "abcd")


def routed(model: str, output: str | None = None, /, catalog: Catalog = CATALOG, **kwargs: Any) -> Routed:
    return route(BatchRequest("a fox", model, output, kwargs), catalog)


def sent(
    model: str, asked: str = DEV, /, *, output: str = "a", safety_off: bool = False, **kwargs: Any
) -> tuple[dict[str, Any], list[str]]:
    """What `model` is given for a request made of `asked`; without what is fixed here anyway."""
    way = routed(asked, output, **kwargs)
    request = RoutedRequest(
        "id", "a fox", asked, way.model.name, way.inputs, tuple(way.references), output, True, tuple(way.warnings)
    )
    inputs, warnings = inputs_for(CATALOG.get(model), request, safety_off=safety_off)
    assert (inputs, warnings) == inputs_for(CATALOG.get(model), request, safety_off=safety_off)
    assert inputs.pop("prompt") == "a fox"
    if "seed" not in kwargs:
        assert ("seed" in inputs) == (CATALOG.get(model).seed_param is not None)
        inputs.pop("seed", None)
    return inputs, warnings


def refused(kind: type[RequestError], model: str, output: str | None = None, /, **kwargs: Any) -> str:
    with pytest.raises(kind) as caught:
        routed(model, output, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- reference images: who takes them ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "kwargs", "taker", "references"),
    [
        (DEV, {"input_image": A}, KONTEXT, [A]),
        (QWEN, {"image_input": [A]}, KONTEXT, [A]),
        (IMAGEN, {"reference_image": A}, KONTEXT, [A]),
        (IMAGEN, {"image": A}, KONTEXT, [A]),
        (DEV, {"image_input": [A, B]}, NANO, [A, B]),
        (QWEN, {"image_input": [A, B, C]}, NANO, [A, B, C]),
        (DEV, {"input_image": A, "start_image": B}, NANO, [A, B]),
        (KONTEXT, {"input_image": A}, KONTEXT, [A]),
        (KONTEXT, {"image": A}, KONTEXT, [A]),
        (KONTEXT, {"image_prompt": [A]}, KONTEXT, [A]),
        (KONTEXT, {"input_image": [A, B]}, NANO, [A, B]),
        (ULTRA, {"image_prompt": A}, ULTRA, [A]),
        (ULTRA, {"reference_images": [A, B]}, NANO, [A, B]),
        (NANO, {"image_input": A}, NANO, [A]),
        (NANO, {"input_image": A, "reference_image": B}, NANO, [A, B]),
        (NANO, {"image_input": []}, NANO, []),
        (NANO, {"image_input": json.dumps([A, B])}, NANO, [A, B]),
        (VEO, {"image": A}, VEO, [A]),
        (VEO, {"start_image": A}, VEO, [A]),
        (KLING, {"image": A}, KLING, [A]),
        (KLING, {"reference_image": [A]}, KLING, [A]),
        (DEV, {"input_image": None}, DEV, []),
        (DEV, {"image": A, "input_image": B}, NANO, [B, A]),
    ],
)
def test_reference_images_find_a_model(asked: str, kwargs: dict[str, Any], taker: str, references: list[str]) -> None:
    way = routed(asked, **kwargs)
    assert (way.model.name, way.references) == (taker, references)
    assert not way.inputs.keys() & kwargs.keys(), "a reference image is sent once"
    assert bool(way.warnings) == (taker != asked)


@pytest.mark.parametrize("asked", [DEV, QWEN])
def test_own_image_input_is_image_to_image(asked: str) -> None:
    way = routed(asked, image=A)
    assert (way.model.name, way.references, way.inputs["image"], way.warnings) == (asked, [], A, [])


@pytest.mark.parametrize(
    ("asked", "kwargs", "said"),
    [
        (DEV, {"image_input": [A, B, C, D]}, f"4 reference images for {NANO}; allowed: at most 3"),
        (NANO, {"image_input": [A, B, C, D]}, f"4 reference images for {NANO}; allowed: at most 3"),
        (VEO, {"image": [A, B]}, f"2 reference images for {VEO}; allowed: at most 1"),
        (KLING, {"start_image": A, "image": B}, f"2 reference images for {KLING}; allowed: at most 1"),
        (DEV, {"input_image": ""}, "input_image is ''; allowed: a path, an http(s) URL or a data URI"),
        (DEV, {"input_image": 5}, "input_image is 5; allowed"),
        (DEV, {"input_image": [A, 5]}, "input_image is 5; allowed"),
        (DEV, {"input_image": "s3://bucket/a.png"}, "input_image is 's3://bucket/a.png'; allowed"),
        (DEV, {"input_image": "data:image/png;base64,"}, "a data URI without data"),
        (DEV, {"image": [A, B]}, "image holds 2 files; allowed: one"),
        (QWEN, {"image": {}}, "image is {}; allowed"),
    ],
)
def test_images_that_nobody_takes(asked: str, kwargs: dict[str, Any], said: str) -> None:
    assert said in refused(ReferenceImageError, asked, **kwargs)


def test_places_of_images(tmp_path: Path) -> None:
    picture = tmp_path / "a b.png"
    Image.new("RGB", (2, 2)).save(picture)
    data = "data:image/png;base64,AAAA"
    with picture.open("rb") as file:
        way = routed(NANO, image_input=[Path("a b.png"), picture.as_uri(), data])
        assert way.references == [str(picture), str(picture), data]
        assert routed(NANO, image_input=file).references == [str(picture)]
    assert way.files == [str(picture)]
    with pytest.raises(ReferenceImageError):
        routed(NANO, image_input=io.BytesIO(b"..."))


def test_relative_paths_start_where_told(tmp_path: Path) -> None:
    request = BatchRequest("a fox", NANO, None, {"image_input": ["refs/a.png", A]})
    way = route(request, CATALOG, folder=tmp_path / "lists")
    assert way.references == [str(tmp_path / "lists/refs/a.png"), A]
    assert located({"image_input": "a.png", "mask": "a.png", "image": None}, CATALOG, tmp_path) == {
        "image_input": [str(tmp_path / "a.png")],
        "mask": "a.png",
        "image": None,
    }


def test_every_local_file_is_found_and_carried(tmp_path: Path) -> None:
    own = str(tmp_path / "own.png")
    way = routed(DEV, image="own.png", aspect_ratio="3:2")
    assert way.files == [own]
    carried = way.with_files({own: "file:abc.png"})
    assert (carried.inputs["image"], carried.inputs["aspect_ratio"]) == ("file:abc.png", "3:2")
    reference = str(tmp_path / "ref.png")
    way = routed(NANO, image_input=["ref.png", A, "ref.png"])
    assert way.files == [reference]
    assert way.with_files({reference: "file:abc.png"}).references == ["file:abc.png", A, "file:abc.png"]


def test_local_images_are_looked_at(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save("good.png")
    Path("good").write_bytes(Path("good.png").read_bytes())
    Path("empty.png").touch()
    Path("text.png").write_text("not an image")
    Path("cut.png").write_bytes(Path("good.png").read_bytes()[:40])
    Path("folder.png").mkdir()
    for good in ("good.png", "good"):
        check_image(good)
        routed(DEV, image=good).check_files()
        routed(KONTEXT, input_image=good).check_files()
    for bad, said in (
        ("missing.png", "no such file"),
        ("empty.png", "an empty file"),
        ("text.png", "not an image"),
        ("cut.png", "not an image"),
        ("folder.png", "a folder"),
    ):
        for way in (routed(DEV, image=bad), routed(KONTEXT, input_image=bad)):
            with pytest.raises(ReferenceImageError) as caught:
                way.check_files()
            assert str(caught.value).startswith(f"{tmp_path / bad}: {said}")


# -- inputs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "kwargs", "typed"),
    [
        (DEV, {"num_outputs": "2"}, {"num_outputs": 2}),
        (DEV, {"num_outputs": 2.0}, {"num_outputs": 2}),
        (DEV, {"guidance": "3.5"}, {"guidance": 3.5}),
        (DEV, {"guidance": 3}, {"guidance": 3}),
        (
            DEV,
            {"go_fast": "false", "disable_safety_checker": " TRUE "},
            {"go_fast": False, "disable_safety_checker": True},
        ),
        (DEV, {"megapixels": 1}, {"megapixels": "1"}),
        (DEV, {"strength": 0.5}, {"prompt_strength": 0.5}),
        (VEO, {"duration": "6"}, {"duration": 6}),
        (QWEN, {"negative_prompt": ""}, {"negative_prompt": ""}),
        (QWEN, {"negative_prompt": "5"}, {"negative_prompt": "5"}),
        (QWEN, {"extra_lora_scale": "[0.5, 1]"}, {"extra_lora_scale": [0.5, 1]}),
        (QWEN, {"extra_lora_scale": ["0.5", "1"]}, {"extra_lora_scale": [0.5, 1]}),
        (QWEN, {"extra_lora_weights": "a/b"}, {"extra_lora_weights": ["a/b"]}),
        (QWEN, {"extra_lora_weights": "[draft"}, {"extra_lora_weights": ["[draft"]}),
        (DEV, {"seed": "7"}, {"seed": 7}),
        (DEV, {"seed": None, "guidance": None}, {}),
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
        (DEV, {"num_outputs": 5}, f"{DEV}: num_outputs is 5; allowed: an integer from 1 to 4"),
        (DEV, {"num_outputs": 0}, f"{DEV}: num_outputs is 0; allowed: an integer from 1 to 4"),
        (DEV, {"num_outputs": 1.5}, f"{DEV}: num_outputs is 1.5; allowed: an integer from 1 to 4"),
        (DEV, {"num_outputs": True}, f"{DEV}: num_outputs is True; allowed: an integer from 1 to 4"),
        (DEV, {"num_outputs": "many"}, f"{DEV}: num_outputs is 'many'; allowed: an integer from 1 to 4"),
        (DEV, {"guidance": "NaN"}, f"{DEV}: guidance is 'NaN'; allowed: a number from 0 to 10"),
        (DEV, {"guidance": float("inf")}, f"{DEV}: guidance is inf; allowed: a number from 0 to 10"),
        (DEV, {"guidance": [3]}, f"{DEV}: guidance is [3]; allowed: a number from 0 to 10"),
        (DEV, {"go_fast": "maybe"}, f"{DEV}: go_fast is 'maybe'; allowed: true or false"),
        (DEV, {"go_fast": 1}, f"{DEV}: go_fast is 1; allowed: true or false"),
        (DEV, {"seed": 1.5}, f"{DEV}: seed is 1.5; allowed: an integer"),
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
        (DEV, {"safety_tolerance": 3, "input_image": A}, f"{KONTEXT}: safety_tolerance is 3; allowed"),
        (DEV, {"prompt": "another"}, "prompt is given twice"),
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
    way = routed(DEV, strength=0.1, prompt_strength=0.9)
    assert way.inputs["prompt_strength"] == 0.9
    assert way.warnings == ["'strength' is left out: 'prompt_strength' is given too"]


def test_required_inputs() -> None:
    Path("replibatch.toml").write_text(
        '["me/mine"]\nkind = "video"\nprice_usd = 1\nprice_unit = "call"\nreference_param = "first"\n'
        'inputs.first = { type = "uri", required = true }\ninputs.voice = { type = "string", required = true }'
    )
    catalog = load()
    for kwargs, missing in (({"first": A}, "voice"), ({"voice": "low"}, "first")):
        with pytest.raises(RequestError, match=f"^me/mine: {missing} is missing; allowed: "):
            routed("me/mine", catalog=catalog, **kwargs)
    assert routed("me/mine", catalog=catalog, image=A, voice="low").references == [A]
    assert routed(DEV, catalog=catalog, first=A).references == [A], "a user's name for it is known everywhere"


# -- the file's format, the seed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "output", "kwargs", "format", "warned"),
    [
        (DEV, "a.png", {}, "png", False),
        (DEV, "a.JPEG", {}, "jpg", False),
        (KONTEXT, "a.webp", {}, None, False),
        (KONTEXT, "a.webp", {"output_format": "jpg"}, "jpg", False),
        (DEV, "a.jpg", {"output_format": "jpg"}, "jpg", False),
        (DEV, "a.jpg", {"output_format": "png"}, "jpg", True),
        (DEV, "a", {"output_format": "png"}, "png", False),
        (DEV, None, {}, None, False),
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
        (DEV, "fox.mp4", f"fox.mp4: {DEV} makes images; allowed: a name ending in .webp"),
    ],
)
def test_names_that_no_conversion_would_suit(model: str, output: str, said: str) -> None:
    assert said in refused(OutputPathError, model, output)


def test_seed_is_drawn_once_and_holds_for_the_chain() -> None:
    seeds = set()
    for asked in [NANO, DEV] * 10:
        way = routed(asked)
        request = RoutedRequest("id", "a fox", asked, asked, way.inputs, (), "a.png")
        for_chain = {inputs_for(CATALOG.get(name), request)[0]["seed"] for name in (DEV, KONTEXT, QWEN)}
        assert len(for_chain) == 1
        assert "seed" not in inputs_for(CATALOG.get(NANO), request)[0]
        seeds |= for_chain
    assert len(seeds) == 20
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_given_seed_is_kept_for_the_models_that_take_one() -> None:
    assert sent(DEV, seed=5)[0]["seed"] == 5
    assert sent(DEV, NANO, seed="5")[0]["seed"] == 5
    assert routed(NANO, seed=5).warnings == [f"{NANO} has no input 'seed'; left out"]


# -- fallback models ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "kwargs", "next_model", "inputs", "left_out"),
    [
        (DEV, {"aspect_ratio": "21:9"}, KONTEXT, {"aspect_ratio": "21:9"}, []),
        (DEV, {"aspect_ratio": "21:9"}, QWEN, {}, ["aspect_ratio is '21:9'"]),
        (DEV, {"guidance": 2, "go_fast": False}, QWEN, {"guidance": 2, "go_fast": False}, []),
        (DEV, {"guidance": 2, "megapixels": "1"}, KONTEXT, {}, ["'guidance'", "'megapixels'"]),
        (
            DEV,
            {"image": A, "prompt_strength": 0.4},
            QWEN,
            {"image": A, "strength": 0.4},
            ["'prompt_strength' is sent"],
        ),
        (QWEN, {"image": A, "strength": 0.4}, DEV, {"image": A, "prompt_strength": 0.4}, ["'strength' is sent"]),
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
    carried, warnings = sent(next_model, DEV, output=output, **kwargs)
    assert (carried.get("output_format"), warnings) == (format, [])


def test_more_reference_images_than_the_model_takes_are_never_dropped() -> None:
    with pytest.raises(ReferenceImageError, match=f"2 reference images for {KONTEXT}"):
        sent(KONTEXT, NANO, image_input=[A, B])
    with pytest.raises(ReferenceImageError, match=f"a reference image for {IMAGEN}; allowed: none"):
        sent(IMAGEN, NANO, image_input=A)


def test_safety_checker_is_switched_off_only_where_opted_in() -> None:
    off = {"disable_safety_checker": True}
    assert sent(DEV, QWEN)[0] == {}
    assert sent(DEV, QWEN, safety_off=True)[0] == off
    assert sent(DEV, QWEN, safety_off=True, disable_safety_checker=False)[0] == {"disable_safety_checker": False}
    assert sent(QWEN, DEV, safety_off=True)[0] == {}


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
            assert inputs.keys() <= candidate.inputs.keys()
            for name, value in inputs.items():
                assert candidate.inputs[name].coerce(value) == value
            assert candidate.cost_usd(inputs) > 0
