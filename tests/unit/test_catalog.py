"""The catalogue: the built-in models, the user's own laid over them, and what is said of mistakes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from replibatch import errors
from replibatch.catalog import Catalog, Model, load
from replibatch.catalog.models import MODEL_SPECIFIC
from tests.support.catalogue import FLUX, IMAGEN, KLING, KONTEXT, NANO, QWEN, ULTRA, VEO

OWN_MODEL = """
["me/mine"]
kind = "image"
price_usd = 0.01
price_unit = "image"
"""


def user_file(text: str) -> Path:
    path = Path("replibatch.toml")
    path.write_text(text, encoding="utf-8")
    return path


def mistake(text: str) -> str:
    with pytest.raises(errors.SettingsError) as caught:
        load(user_file(text))
    message = str(caught.value)
    assert message.startswith("replibatch.toml: ")
    assert "\n" not in message
    return message.removeprefix("replibatch.toml: ")


# -- the built-in models ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load()


@pytest.mark.parametrize(
    ("name", "price_usd", "references", "as_list", "seed", "extension"),
    [
        (FLUX, 0.025, 0, False, "seed", "webp"),
        (KONTEXT, 0.08, 1, False, "seed", "png"),
        (ULTRA, 0.06, 1, False, "seed", "jpg"),
        (QWEN, 0.025, 0, False, "seed", "webp"),
        (IMAGEN, 0.06, 0, False, None, "jpg"),
        (NANO, 0.039, 3, True, None, "jpg"),
        (VEO, 3.32, 1, False, "seed", "mp4"),
        (KLING, 5 * 0.28, 1, False, None, "mp4"),
    ],
)
def test_built_in_models(
    catalog: Catalog, name: str, price_usd: float, references: int, as_list: bool, seed: str | None, extension: str
) -> None:
    model = catalog.get(name)
    assert model.cost_usd({}) == pytest.approx(price_usd)
    assert (model.reference_max, model.reference_is_list) == (references, as_list)
    assert model.seed_param == seed
    assert model.extension({}) == extension


@pytest.mark.parametrize(
    ("name", "inputs", "price_usd"),
    [
        (FLUX, {"num_outputs": 4}, 0.1),
        (NANO, {"num_outputs": 4}, 4 * 0.039),  # it has no such input; should it ever come to be sent, it is paid for
        (VEO, {"duration": 4}, 3.32),
        (KLING, {"duration": 10}, 2.8),
    ],
)
def test_price_of_a_prediction(catalog: Catalog, name: str, inputs: dict[str, Any], price_usd: float) -> None:
    assert catalog.get(name).cost_usd(inputs) == pytest.approx(price_usd)


def test_unsupported_model_names_the_supported(catalog: Catalog) -> None:
    with pytest.raises(errors.UnsupportedModel) as caught:
        catalog.get("x/y")
    message = str(caught.value)
    assert message.startswith(
        "Model 'x/y' is not supported. Please use one of the supported models: "
        f"{FLUX}, {KONTEXT}, {ULTRA}, {QWEN}, {IMAGEN}, {NANO}, {VEO}, {KLING}, "
    )
    assert message.endswith("; `replibatch models add x/y` adds it")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("nano-banana", NANO),
        ("google/nano-bananna", NANO),
        ("https://replicate.com/google/nano-banana", NANO),
        ("replicate.com/qwen/qwen-image?input=python", QWEN),
        ("Qwen-Image", QWEN),
        ("flux-dev:5c7d5dc6", FLUX),
    ],
)
def test_the_nearest_name_is_said(catalog: Catalog, name: str, meant: str) -> None:
    with pytest.raises(errors.UnsupportedModel, match=f"did you mean {meant}\\?"):
        catalog.get(name)


def test_every_entry_is_complete(catalog: Catalog) -> None:
    for model in catalog.models.values():
        assert re.search(r"https://\S+.* (November 2026|read 2026-11-\d\d)$", model.source), model.name
        assert model.cost_usd({}) is not None, f"{model.name}: the price of a call without inputs is not known"
        assert model.specialization and model.inputs and model.typical_seconds
        assert any(spec.required for spec in model.inputs.values()), model.name
        assert model.kind in ("image", "video", "audio")
    assert len(catalog.models) >= 17


def test_subset_holds_all_that_routing_and_fallbacks_reach(catalog: Catalog) -> None:
    triangle = {FLUX, KONTEXT, QWEN, IMAGEN, NANO}
    assert set(catalog.subset(ULTRA)) == triangle | {ULTRA}
    assert set(catalog.subset(FLUX)) == triangle
    assert list(catalog.subset(VEO)) == [VEO]


def test_json_round_trip_is_whole_and_stable(catalog: Catalog) -> None:
    for model in catalog.models.values():
        text = json.dumps(model.to_json())
        again = Model.from_json(json.loads(text))
        assert again == model
        assert json.dumps(again.to_json()) == text


def test_conditions_are_reasons_of_failures(catalog: Catalog) -> None:
    reasons = {
        each.reason
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.AttemptFailure)
    }
    assert reasons >= MODEL_SPECIFIC
    assert {word for model in catalog.models.values() for edge in model.fallback for word in edge.on} <= reasons | {
        "unsupported_inputs"
    }


# -- the user's own ---------------------------------------------------------------------------------------------


def test_file_in_the_working_directory_is_found() -> None:
    user_file(OWN_MODEL)
    assert load().get("me/mine").price_usd == 0.01


def test_own_model_in_every_detail() -> None:
    catalog = load(
        user_file(
            """
            ["me/clip:4f2a"]
            kind = "video"
            price_usd = 0.5
            price_unit = "second"
            typical_seconds = 30
            specialization = "Loops"
            reference_param = "frames"
            reference_max = 4
            fallback = [
                "google/veo-3-fast",
                { model = "kwaivgi/kling-v2.1-master", on = "sensitive", references = true },
            ]

            ["me/clip:4f2a".inputs]
            frames = { type = "array", items = "uri" }
            duration = { type = "integer", minimum = 2, default = 3 }
            random_seed = { type = "integer", also = ["seed"] }
            look = { enum = ["day", "night"], default = "day" }
            loop = { default = true }
            """
        )
    )
    model = catalog.get("me/clip:4f2a")
    assert model.cost_usd({}) == pytest.approx(1.5)
    assert model.seed_param == "random_seed"
    assert model.reference_is_list
    assert [(edge.model, edge.on, edge.references) for edge in model.fallback] == [
        (VEO, MODEL_SPECIFIC, False),
        (KLING, {"sensitive"}, True),
    ]
    assert {name: spec.type for name, spec in model.inputs.items()} == {
        "prompt": "string",
        "frames": "array",
        "duration": "integer",
        "random_seed": "integer",
        "look": "string",
        "loop": "boolean",
    }
    assert set(catalog.subset(model.name)) == {model.name, VEO, KLING}
    assert Model.from_json(json.loads(json.dumps(model.to_json()))) == model


def test_changes_are_laid_over_the_built_in() -> None:
    before = load().get(FLUX)
    model = load(
        user_file(
            f"""
            ["{FLUX}"]
            price_usd = 0.03
            fallback = []
            inputs.num_outputs = {{ maximum = 8 }}
            inputs.go_fast = false
            inputs.image = {{ required = true }}
            inputs.scheduler = "string"
            """
        )
    ).get(FLUX)
    assert model.cost_usd({"num_outputs": 8}) == pytest.approx(0.24)
    assert model.fallback == ()
    assert model.inputs["num_outputs"].minimum == 1
    assert (model.inputs["image"].type, model.inputs["image"].required) == ("uri", True)
    assert model.inputs.keys() == before.inputs.keys() - {"go_fast"} | {"scheduler"}
    assert model.specialization == before.specialization
    assert load(user_file("")).get(FLUX) == before, "a change must not outlive its file"


def test_who_takes_reference_images_can_be_chosen() -> None:
    catalog = load(user_file(f'[reference_images]\none = "{ULTRA}"'))
    assert catalog.one_reference.name == ULTRA
    assert catalog.several_references.name == NANO


def test_byte_order_mark_is_tolerated() -> None:
    Path("replibatch.toml").write_text(OWN_MODEL, encoding="utf-8-sig")
    assert "me/mine" in load().models


# -- mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ('kind = "movie"', "me/mine: kind is 'movie'; allowed: 'image', 'video', 'audio', 'text', '3d' or 'file'"),
        ('price_usd = "0.1"', "me/mine: price_usd is '0.1'; allowed: a number"),
        ("price_usd = -1", "me/mine: price_usd is -1; allowed: greater than or equal to 0"),
        ("price_usd = nan", "me/mine: price_usd is nan; allowed: a finite number"),
        (
            'price_unit = "hour"',
            "me/mine: price_unit is 'hour'; allowed: 'image', 'call', 'second', 'gpu_second', 'm",
        ),
        (
            'price_unit = "second"\ninputs_known = true',
            "me/mine: price_unit is 'second'; allowed: only with an input 'duration'",
        ),
        ("price_usd = 10001", "me/mine: price_usd is 10001; allowed: less than or equal to 10000"),
        ("prices = [{ usd = -1 }]", "me/mine: prices.0.usd is -1; allowed: greater than or equal to 0"),
        ("prices = [{ if = {} }]", "me/mine: unknown key 'prices.0.if'; allowed: usd, when"),
        ('prompt_param = "text"\ninputs_known = true', "me/mine: prompt_param is 'text'; allowed: prompt"),
        ('version = "a b"', "me/mine: version is 'a b'"),
        ("prise_usd = 1", "me/mine: unknown key 'prise_usd'; allowed: kind, inputs, price_usd"),
        ('name = "x"', "me/mine: unknown key 'name'"),
        ("typical_seconds = 0", "me/mine: typical_seconds is 0; allowed: greater than 0"),
        ("reference_max = 1", "me/mine: reference_max is 1; allowed: only with a reference_param"),
        (
            'reference_param = "image"\ninputs_known = true',
            "me/mine: reference_param is 'image'; allowed: an input that takes files",
        ),
        (
            'reference_param = "a"\ninputs.a = "uri"\nreference_max = 2',
            "me/mine: reference_max is 2; allowed: 1, as a is",
        ),
        ('fallback = "x/y"', "me/mine: fallback is 'x/y'; allowed: a list"),
        ("fallback = [1]", "me/mine: fallback.0 is 1; allowed: a table, or a name"),
        ('fallback = ["x/y"]', f"me/mine: fallback to 'x/y', which is no model; allowed: {FLUX}, "),
        (f'fallback = ["{VEO}"]', f"me/mine: fallback to '{VEO}', which makes video; allowed: image models"),
        (
            f'fallback = [{{ model = "{FLUX}", on = ["bad"] }}]',
            "me/mine: fallback.0.on.0 is 'bad'; allowed: 'failed', ",
        ),
        (f'fallback = [{{ model = "{FLUX}", on = [] }}]', "me/mine: fallback.0.on is []; allowed: at least one"),
        (
            f'fallback = [{{ model = "{FLUX}", when = "x" }}]',
            "me/mine: unknown key 'fallback.0.when'; allowed: model, on",
        ),
        ('fallback = [{ on = "failed" }]', "me/mine: fallback.0.model is missing"),
        ("safety_off.checker = false", "me/mine: safety_off has 'checker'; allowed: prompt"),
        ('inputs.a = "int"', "me/mine: inputs.a.type is 'int'; allowed: 'string', 'integer'"),
        ("inputs.a = 5", "me/mine: inputs: a is 5; allowed: a type, or a table with one"),
        ("inputs.a = {}", "me/mine: inputs.a.type is missing"),
        ("inputs = 5", "me/mine: inputs is 5; allowed: a table"),
        ('inputs.a = { type = "integer", min = 1 }', "me/mine: unknown key 'inputs.a.min'; allowed: type, required"),
        ('inputs.a = { type = "integer", minimum = "1" }', "me/mine: inputs.a.minimum is '1'; allowed: a"),
        (
            'inputs.a = { type = "integer", minimum = 9, maximum = 1 }',
            "me/mine: inputs.a: minimum is 9; allowed: at most",
        ),
        ('inputs.a = { type = "string", maximum = 1 }', "me/mine: inputs.a: minimum and maximum are for"),
        ("inputs.a = { enum = [] }", "me/mine: inputs.a"),
        ('inputs.a = { enum = ["x"], default = "y" }', "me/mine: inputs.a: a is 'y'; allowed: x"),
        ('inputs.a = { enum = "xy" }', "me/mine: inputs.a.enum is 'xy'; allowed: a list"),
    ],
)
def test_mistakes_name_model_key_found_and_allowed(added: str, said: str) -> None:
    key = added.partition(" ")[0]
    lines = [line for line in OWN_MODEL.splitlines() if not line.startswith(key + " ")]
    assert said in mistake("\n".join([*lines, added]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[qwen/qwen-image]\nprice_usd = 1", "a model's name goes in quotes"),
        ('["qwen-image"]\nprice_usd = 1', "'qwen-image' is no model; allowed: tables named"),
        ("price_usd = 1", "'price_usd' is no model; allowed: tables named"),
        ('["me/mine"]\nkind = 5', "me/mine: kind is 5; allowed: 'image'"),
        ('[reference_images]\none = "x/y"', f"reference_images.one is 'x/y'; allowed: {KONTEXT}, {ULTRA}, {NANO}, "),
        (f'[reference_images]\nseveral = "{KONTEXT}"', f"reference_images.several is '{KONTEXT}'; allowed: {NANO}, "),
        ('[reference_images]\ntwo = "x/y"', "reference_images has 'two'; allowed: one, several"),
    ],
)
def test_mistakes_of_the_file(text: str, said: str) -> None:
    assert said in mistake(text)


def test_file_that_is_not_there_or_no_text() -> None:
    with pytest.raises(errors.SettingsError, match=r"gone\.toml: cannot be read \(No such file"):
        load(Path("gone.toml"))
    Path("replibatch.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(errors.SettingsError, match=r"replibatch\.toml: not UTF-8 text"):
        load()
