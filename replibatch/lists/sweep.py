"""Every combination of models, varied inputs and samples."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from replibatch.errors import RequestError

MOST_VALUES = 10_000  # of one `--vary`
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")


@dataclass(frozen=True, slots=True)
class Combination:
    """One of the items that a line becomes.

    Attributes:
        model: that makes it.
        varied: the inputs of `--vary`.
        sample: its number, from 1.
    """

    model: str
    varied: Mapping[str, Any]
    sample: int


def combinations(models: Sequence[str], vary: Mapping[str, Sequence[Any]], samples: int) -> Iterator[Combination]:
    """Every combination, models first.

    Args:
        models: one or more.
        vary: the values by input.
        samples: how many of each.
    """
    for model in models:
        for values in itertools.product(*vary.values()):
            varied = dict(zip(vary, values, strict=True))
            for sample in range(1, samples + 1):
                yield Combination(model, varied, sample)


def values_of(text: str, given: str) -> list[Any]:
    """The values of a `--vary KEY=…`: `a,b`, `1..4`, or a JSON list.

    Args:
        text: after the `=`.
        given: the whole option, for people.

    Raises:
        RequestError: there are none, too many, or one twice.
    """
    if bounds := _RANGE.fullmatch(text.strip()):
        first, last = int(bounds[1]), int(bounds[2])
        if last < first or last - first >= MOST_VALUES:
            raise RequestError(f"--vary {given!r}; expected: a range that rises, of at most {MOST_VALUES:,} numbers")
        return list(range(first, last + 1))
    values: list[Any] = [value.strip() for value in text.split(",")]
    if text.lstrip().startswith("["):
        try:
            values = json.loads(text)
        except ValueError as error:
            raise RequestError(f"--vary {given!r}: not JSON ({error})") from None
    if not values or "" in values:
        raise RequestError(f"--vary {given!r}; expected: KEY=a,b or KEY=1..4")
    if twice := [value for place, value in enumerate(values) if value in values[:place]]:
        raise RequestError(f"--vary {given!r}: {twice[0]!r} is there twice; expected: each value once")
    return values


def pairs_of(option: str, given: Iterable[str], example: str) -> list[tuple[str, str, str]]:
    """The `KEY=VALUE` of an option, each with the whole text as it was typed.

    Raises:
        RequestError: one has no `=` or no key.
    """
    found = []
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise RequestError(f"{option} {text!r}; expected: {example}")
        found.append((key.strip(), value, text))
    return found
