"""What a prediction may cost at most, before it is created, and what it did cost, once it is over.

A price is for a unit. The inputs give the number of units before a prediction; its metrics and output give the number
afterwards. An unknown price is None, never 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from replibatch.errors import RequestError
from replibatch.money import LARGEST_PRICE_USD

if TYPE_CHECKING:
    from replibatch.catalog.models import Model

PriceUnit = Literal["image", "call", "second", "gpu_second", "megapixel", "token"]
Usd = Annotated[float, Field(strict=True, ge=0, le=LARGEST_PRICE_USD, allow_inf_nan=False)]
Units = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]

LONGEST_SECONDS = 1800.0  # a prediction may run for, where no setting says
MICRO = 1_000_000
# What models call the number of images they make.
COUNTS = re.compile(
    r"n|(max|num|number)_?(of_)?(images?|outputs?|samples?|generations?|pictures?|variations?|results?)(_per_\w+)?"
    r"|(images?|outputs?|samples?|batch|generation)_?(count|number|num|size)|batch_?size|samples|images_per_prompt"
)
DURATIONS = ("duration", "seconds", "duration_seconds", "video_length", "length_seconds", "max_duration")
TOKEN_LIMITS = ("max_tokens", "max_new_tokens", "max_completion_tokens", "max_output_tokens", "max_length")
DURATION_METRICS = ("video_output_duration_seconds", "audio_output_duration_seconds", "output_duration_seconds")
NUMBER = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*(?:s|sec|secs|seconds?|mp|megapixels?)?\s*", re.IGNORECASE)
FILE = re.compile(r"\s*(https?://|data:)", re.IGNORECASE)
OVERHEAD_TOKENS = 256  # that a model's own template adds to what it reads
MOST_LEAVES = 10_000  # of an output that are counted


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Price:
    """A price that holds for some inputs alone.

    Attributes:
        usd: US dollars for one unit.
        when: inputs by name, with the value, or the list of values, for which it holds.
    """

    usd: Usd
    when: dict[str, Any] = field(default_factory=dict)


@plain_dataclass(frozen=True)
class Ended:
    """The facts about a prediction that is over.

    Attributes:
        status: `succeeded`, `failed`, `canceled` or `aborted`.
        metrics: as Replicate tells them.
        output: the prediction's.
        ran_seconds: how long it ran by Replicate's clock; None where that is not known.
    """

    status: str
    metrics: Mapping[str, Any] = field(default_factory=dict)
    output: Any = None
    ran_seconds: float | None = None


def at_most_usd(model: Model, inputs: Mapping[str, Any], longest_seconds: float = LONGEST_SECONDS) -> float | None:
    """The most that one prediction can cost; None where that is not known.

    Args:
        model: the one that makes it.
        inputs: what it is given.
        longest_seconds: after which Replicate ends it.

    Raises:
        RequestError: an amount is negative, not finite, or comes to more than any prediction may cost.
    """
    rate = _highest_rate(model, inputs)
    units = _units(model, inputs, longest_seconds) if rate else 0.0
    if rate is None or units is None:
        return None
    usd = rate * units + _for_input_tokens(model, inputs)
    if not math.isfinite(usd) or usd > LARGEST_PRICE_USD:
        raise RequestError(f"{model.name}: it could cost ${usd:,.0f}; allowed: at most ${LARGEST_PRICE_USD:,.0f}")
    return math.ceil(usd * MICRO - 1e-3) / MICRO


def likely_usd(model: Model, inputs: Mapping[str, Any], longest_seconds: float = LONGEST_SECONDS) -> float | None:
    """What one prediction will cost in all likelihood: the most it can, but for time, which most do not use up.

    Raises:
        RequestError: as `at_most_usd`.
    """
    seconds = min(model.typical_seconds, longest_seconds) if model.price_unit == "gpu_second" else longest_seconds
    return at_most_usd(model, inputs, seconds)


def settled_usd(model: Model, inputs: Mapping[str, Any], ended: Ended, reserved_usd: float | None) -> float | None:
    """What a prediction that is over has cost.

    Args:
        model: the one that made it.
        inputs: what it was given.
        ended: the facts about its end.
        reserved_usd: the most it could cost; used where nothing better is known.
    """
    if not _is_charged(model, ended):
        return 0.0
    rate = _highest_rate(model, inputs)
    units = _units_made(model, ended) if rate else 0.0
    if rate is None or units is None:
        return reserved_usd
    usd = rate * units
    if model.price_unit == "token":
        read = _metric(ended, "input_token_count")
        if read is None:
            return reserved_usd
        usd += read * _input_rate(model, inputs)
    if not math.isfinite(usd) or usd > LARGEST_PRICE_USD:
        return reserved_usd
    return round(usd, 6)


def _is_charged(model: Model, ended: Ended) -> bool:
    """Public models charge successes, and what a canceled run has used; a deployment charges all the time it runs."""
    if ended.status in ("succeeded", "canceled"):
        return True
    return ended.status == "failed" and model.is_deployment and model.price_unit == "gpu_second"


def _highest_rate(model: Model, inputs: Mapping[str, Any]) -> float | None:
    """The highest price of a unit that may hold for these inputs; None where none is known."""
    return max(_rates(model, inputs), default=None)


def _rates(model: Model, inputs: Mapping[str, Any]) -> Iterator[float]:
    """Every price that may hold: an omitted input with an unknown default may have any value."""
    for price in model.prices:
        holds = [_holds(model, inputs, name, wanted) for name, wanted in price.when.items()]
        if False in holds:
            continue
        yield price.usd
        if None not in holds:
            return
    if model.price_usd is not None:
        yield model.price_usd


def _holds(model: Model, inputs: Mapping[str, Any], name: str, wanted: Any) -> bool | None:
    spec = model.inputs.get(name)
    value = inputs.get(name, spec.default if spec else None)
    if value is None:
        return None
    choices = wanted if isinstance(wanted, list | tuple) else [wanted]
    return any(value == choice or _word(value) == _word(choice) for choice in choices)


def _word(value: Any) -> str:
    return str(value).strip().lower() if isinstance(value, str | bool | int | float) else repr(type(value))


def _units(model: Model, inputs: Mapping[str, Any], longest_seconds: float) -> float | None:
    """How many units there are at most."""
    match model.price_unit:
        case "call":
            return 1.0
        case "image":
            return images_asked_for(model, inputs)
        case "gpu_second":
            return min(longest_seconds, model.most_units or longest_seconds)
        case "second":
            found = _first_amount(model, inputs, DURATIONS)
        case "megapixel":
            found = _megapixels(model, inputs)
        case "token":
            found = _first_amount(model, inputs, TOKEN_LIMITS)
    return found if found is not None else model.most_units


def _first_amount(model: Model, inputs: Mapping[str, Any], usual: tuple[str, ...]) -> float | None:
    names = (model.amount_param,) if model.amount_param else usual
    return _first(_most_of(model, inputs, name) for name in names)


def images_asked_for(model: Model, inputs: Mapping[str, Any]) -> float:
    """How many images are asked for, at most, under whichever name of an input; one where nothing says."""
    if model.amount_param:
        names = {model.amount_param}
    else:
        names = {name for name in {*model.inputs, *inputs} if COUNTS.fullmatch(name)}
    amounts = [amount for name in names if (amount := _most_of(model, inputs, name)) is not None]
    return max([1.0, *amounts])


def _megapixels(model: Model, inputs: Mapping[str, Any]) -> float | None:
    if model.amount_param:
        return _most_of(model, inputs, model.amount_param)
    width, height = (_most_of(model, inputs, name) for name in ("width", "height"))
    if width is not None and height is not None:
        return max(0.0, width * height / 1e6) * images_asked_for(model, inputs)
    each = _most_of(model, inputs, "megapixels")
    return None if each is None else each * images_asked_for(model, inputs)


def _most_of(model: Model, inputs: Mapping[str, Any], name: str) -> float | None:
    """The most that an input can amount to: what was given, else its default, else the greatest that is allowed.

    Raises:
        RequestError: it is negative, or not finite.
    """
    spec = model.inputs.get(name)
    value = inputs.get(name)
    if value is None and spec is not None:
        value = spec.default
    if (amount := _amount(name, value)) is not None:
        return amount
    if spec is None:
        return None
    listed = [found for each in spec.enum or () if (found := _amount(name, each)) is not None]
    return float(spec.maximum) if spec.maximum is not None else max(listed, default=None)


def _amount(name: str, value: Any) -> float | None:
    """A number, or a text that begins with one; None for anything else, `auto` for example."""
    if isinstance(value, str):
        found = NUMBER.fullmatch(value)
        if found is None and re.fullmatch(r"\s*[-+]?(\d|inf|nan)", value[:8], re.IGNORECASE):
            raise RequestError(f"{name} is {value[:40]!r}; allowed: a number from 0")
        return float(found[1]) if found else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        amount = float(value)
    except OverflowError:
        amount = math.inf
    if not 0 <= amount <= LARGEST_PRICE_USD * MICRO:
        raise RequestError(f"{name} is {amount:g}; allowed: a number from 0 to {LARGEST_PRICE_USD * MICRO:.0e}")
    return amount


def _for_input_tokens(model: Model, inputs: Mapping[str, Any]) -> float:
    """What the tokens that are read cost at most: none is shorter than a byte."""
    if model.price_unit != "token":
        return 0.0
    read = OVERHEAD_TOKENS + sum(len(text.encode(errors="replace")) for text in _texts(dict(inputs)))
    return _input_rate(model, inputs) * read


def _input_rate(model: Model, inputs: Mapping[str, Any]) -> float:
    """What a token of the input costs: its own price, or that of any token."""
    if model.input_token_usd is not None:
        return model.input_token_usd
    return _highest_rate(model, inputs) or 0.0


def _texts(value: Any) -> Iterator[str]:
    for leaf in _leaves(value):
        if isinstance(leaf, str):
            yield leaf


def _units_made(model: Model, ended: Ended) -> float | None:
    """How many units there were, by the metrics and the output; None where neither tells."""
    match model.price_unit:
        case "call":
            return 1.0 if ended.status == "succeeded" else None
        case "image":
            files = sum(FILE.match(text) is not None for text in _texts(ended.output))
            return _metric(ended, "image_count") or (float(files) if files else None)
        case "gpu_second":
            timed = _metric(ended, "predict_time")
            return ended.ran_seconds if timed is None else timed
        case "second":
            return _first(_metric(ended, name) for name in DURATION_METRICS)
        case "token":
            return _metric(ended, "output_token_count")
        case "megapixel":
            return _metric(ended, "image_output_megapixels")


def _metric(ended: Ended, name: str) -> float | None:
    """A metric that is a number from 0; None where there is none."""
    value = ended.metrics.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= MICRO * LARGEST_PRICE_USD else None


def _leaves(value: Any) -> Iterator[Any]:
    """What lists and objects hold, however deep; without recursion, as others made it."""
    ahead, seen = [value], 0
    while ahead and seen < MOST_LEAVES:
        each = ahead.pop()
        if isinstance(each, Mapping):
            ahead += each.values()
        elif isinstance(each, list | tuple):
            ahead += each
        else:
            seen += 1
            yield each


def _first(found: Iterator[float | None]) -> float | None:
    return next((each for each in found if each is not None), None)
