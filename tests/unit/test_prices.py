"""Prices: what may be reserved, and what is booked, whatever is asked and whatever is answered."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replibatch.catalog import Model
from replibatch.catalog.prices import Ended, at_most_usd, likely_usd, settled_usd
from replibatch.errors import RequestError
from replibatch.money import LARGEST_PRICE_USD, to_micro

COUNTS = ("num_outputs", "number_of_images", "num_images", "n", "max_images", "batch_size", "num_samples")
UNITS = ("image", "call", "second", "gpu_second", "megapixel", "token")
ODD = st.one_of(
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["10", "-3", "nan", "inf", "1e9", "5s", "auto", "", " 7 ", "0x10", "1 MP", "1_000", None, True]),
    st.lists(st.integers(), max_size=2),
    st.integers(-3, 2000),
    st.sampled_from([10**400, -(10**400), 1e308, -0.0, 5e-324]),
)


def model(**table: Any) -> Model:
    return Model.from_json({"name": "me/mine", "kind": "image", "inputs": {"prompt": "string"}, **table})


def _models() -> Iterator[Model]:
    """Models with a price of every unit, their inputs known or not, the count under every usual name."""
    amounts = {"second": ("duration",), "megapixel": ("width", "height", "megapixels"), "token": ("max_tokens",)}
    defaults: list[dict[str, Any]] = [{}, {"default": 3}, {"default": "5"}]
    for place, (unit, count, known) in enumerate(product(UNITS, COUNTS, (True, False))):
        names = (*amounts.get(unit, ()), count) if known else ()
        specs = {name: {"type": "any"} | defaults[place % 3] for name in names}
        table: dict[str, Any] = {"price_usd": (0.0, 0.0123, 99.0)[place % 3], "inputs": {"prompt": "string", **specs}}
        if unit == "second":
            table["most_units"] = 20
        if place % 2:
            table["prices"] = [{"usd": 0.5, "when": {"prompt": "x"}}]
        yield model(price_unit=unit, inputs_known=known, **table)


NAMES = [*COUNTS, "duration", "width", "height", "megapixels", "max_tokens", "prompt"]
PRICED = st.tuples(st.sampled_from(list(_models())), st.dictionaries(st.sampled_from(NAMES), ODD, max_size=4))
CASES = [200, pytest.param(10_000, marks=pytest.mark.chaos)]


def billed(priced_model: Model, inputs: dict[str, Any], ran_seconds: float) -> float | None:  # noqa: PLR0911
    """What the service would bill for plain numbers; None for inputs it would refuse, or read in its own way."""
    given = {
        name: inputs.get(name, spec.default) for name, spec in priced_model.inputs.items() if spec.name != "prompt"
    } | inputs
    numbers = {name: value for name, value in given.items() if isinstance(value, int | float) and value is not True}
    if any(value != value or value < 0 or value > 1e6 for value in numbers.values()):  # noqa: PLR0124  # NaN
        return None
    counts = [value for name, value in numbers.items() if name in COUNTS]
    images = max([1, *counts])
    usd = priced_model.price_usd or 0.0
    if priced_model.prices and given.get("prompt") == "x":
        usd = priced_model.prices[0].usd
    match priced_model.price_unit:
        case "call":
            return usd
        case "image":
            return usd * images
        case "second":
            return usd * numbers["duration"] if "duration" in numbers else None
        case "gpu_second":
            return usd * ran_seconds
        case "megapixel" if {"width", "height"} <= numbers.keys():
            return usd * numbers["width"] * numbers["height"] / 1e6 * images
        case "token":
            read = len(str(given.get("prompt", ""))) / 4
            return usd * (numbers["max_tokens"] + read) if "max_tokens" in numbers else None
    return None


@pytest.mark.parametrize("cases", CASES)
def test_a_reservation_is_an_amount_and_covers_the_bill(cases: int) -> None:
    settings(max_examples=cases)(given(case=PRICED, ran_seconds=st.floats(0, 1800))(check_reservation))()


def check_reservation(case: tuple[Model, dict[str, Any]], ran_seconds: float) -> None:
    priced_model, inputs = case
    try:
        most_usd = at_most_usd(priced_model, inputs, 1800.0)
    except RequestError as refusal:
        assert "\n" not in str(refusal)
        return
    if most_usd is None:
        return
    assert math.isfinite(most_usd) and 0 <= most_usd <= LARGEST_PRICE_USD
    assert to_micro(most_usd) >= 0
    likely = likely_usd(priced_model, inputs, 1800.0)
    assert likely is not None and 0 <= likely <= most_usd
    bill = billed(priced_model, inputs, ran_seconds)
    if bill is not None:
        assert most_usd >= bill - 1e-6, (bill, priced_model.price_unit)


METRICS = st.dictionaries(
    st.sampled_from(
        (
            *("predict_time", "image_count", "output_token_count", "input_token_count"),
            *("image_output_megapixels", "video_output_duration_seconds"),
        )
    ),
    ODD,
)
OUTPUTS = st.recursive(
    st.sampled_from(["https://x/a.png", "data:,a", "text", None, 3]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=6,
)


ENDS = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["succeeded", "failed", "canceled", "aborted", "unheard-of"]),
        "metrics": METRICS,
        "output": OUTPUTS,
        "reserved_usd": st.none() | st.floats(0, LARGEST_PRICE_USD),
    }
)


@pytest.mark.parametrize("cases", CASES)
def test_what_is_booked_only_ever_adds_to_the_spend(cases: int) -> None:
    settings(max_examples=cases)(given(case=PRICED, end=ENDS)(lambda case, end: check_booked(case, **end)))()


def check_booked(
    case: tuple[Model, dict[str, Any]], status: str, metrics: dict[str, Any], output: Any, reserved_usd: float | None
) -> None:
    priced_model, inputs = case
    try:
        at_most_usd(priced_model, inputs)
    except RequestError:
        return  # it is never created
    usd = settled_usd(priced_model, inputs, Ended(status, metrics, output), reserved_usd)
    if usd is not None:
        assert math.isfinite(usd) and 0 <= usd <= LARGEST_PRICE_USD
        assert to_micro(usd) >= 0
    if status in ("failed", "aborted", "unheard-of"):
        assert usd == 0


@pytest.mark.parametrize("name", COUNTS)
def test_images_count_under_every_usual_name(name: str) -> None:
    for known in (True, False):
        inputs = {name: "integer"} if known else {}
        assert (
            at_most_usd(model(price_usd=0.04, price_unit="image", inputs=inputs, inputs_known=known), {name: 10})
            == 0.4
        )


def test_a_price_may_depend_on_inputs_and_the_most_is_reserved_where_one_is_left_out() -> None:
    veo = model(
        price_unit="second",
        prices=[{"usd": 0.15, "when": {"generate_audio": True}}, {"usd": 0.10, "when": {"generate_audio": False}}],
        inputs={
            "duration": {"enum": [4, 6, 8], "default": 8},
            "generate_audio": {"type": "boolean"},
        },
    )
    assert at_most_usd(veo, {"generate_audio": True, "duration": 4}) == 0.6
    assert at_most_usd(veo, {"generate_audio": False, "duration": 4}) == 0.4
    assert at_most_usd(veo, {"duration": 4}) == 0.6  # it may have sound
    assert at_most_usd(veo, {}) == 1.2
    assert at_most_usd(veo, {"generate_audio": "other"}) is None  # no price is known to hold


@pytest.mark.parametrize(
    ("table", "inputs", "ended", "usd"),
    [
        (
            {"price_usd": 0.04, "price_unit": "image"},
            {"num_outputs": 4},
            {"output": ["https://x/1", "https://x/2"]},
            0.08,
        ),
        (
            {"price_usd": 0.04, "price_unit": "image"},
            {},
            {"output": "https://x/1", "metrics": {"image_count": 3}},
            0.12,
        ),
        ({"price_usd": 0.001, "price_unit": "gpu_second"}, {}, {"metrics": {"predict_time": 12.5}}, 0.0125),
        ({"price_usd": 0.001, "price_unit": "gpu_second"}, {}, {"ran_seconds": 20.0}, 0.02),
        ({"price_usd": 0.1, "price_unit": "second"}, {}, {"metrics": {"video_output_duration_seconds": 5.0}}, 0.5),
        ({"price_usd": 0.1, "price_unit": "megapixel"}, {}, {"metrics": {"image_output_megapixels": 4.0}}, 0.4),
        (
            {"price_usd": 1e-5, "input_token_usd": 2e-6, "price_unit": "token"},
            {},
            {"metrics": {"output_token_count": 1000, "input_token_count": 500}},
            0.011,
        ),
        ({"price_usd": 0.5}, {}, {"status": "failed", "metrics": {"predict_time": 9.0}}, 0.0),
        ({"price_usd": 0.001, "price_unit": "gpu_second"}, {}, {"status": "aborted"}, 0.0),
        (
            {"price_usd": 0.001, "price_unit": "gpu_second"},
            {},
            {"status": "canceled", "metrics": {"predict_time": 3.0}},
            0.003,
        ),
        ({"price_usd": 0.04, "price_unit": "image"}, {"num_outputs": 4}, {"metrics": {"image_count": math.nan}}, 7.0),
    ],
)
def test_what_is_settled(table: dict[str, Any], inputs: dict[str, Any], ended: dict[str, Any], usd: float) -> None:
    asked = model(inputs_known=False, inputs={}, **table)
    assert settled_usd(asked, inputs, Ended(**{"status": "succeeded", **ended}), 7.0) == pytest.approx(usd)


def test_a_deployment_charges_failures_too() -> None:
    asked = Model.from_json(
        {"name": "deployment:me/mine", "kind": "image", "inputs": {}, "price_usd": 0.001, "price_unit": "gpu_second"}
    )
    assert settled_usd(asked, {}, Ended("failed", {"predict_time": 10.0}), 1.8) == 0.01


def test_without_a_price_the_cost_is_unknown_and_never_nothing() -> None:
    asked = model()
    assert at_most_usd(asked, {}) is None
    assert settled_usd(asked, {}, Ended("succeeded", {"predict_time": 1.0}, "https://x/1"), None) is None
    assert settled_usd(asked, {}, Ended("failed"), None) == 0.0


@pytest.mark.parametrize("usd", [-1.0, math.nan, math.inf, 1e10])
def test_no_script_is_given_what_is_no_amount(usd: float) -> None:
    with pytest.raises(ValueError, match="no amount"):
        to_micro(usd)
