"""One input of a model: what it may be, and a value made to fit or refused."""

from __future__ import annotations

import contextlib
import json
import math
import os
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from replibatch.errors import RequestError

InputType = Literal["string", "integer", "number", "boolean", "uri", "array"]
Bound = Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True, allow_inf_nan=False)]

TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
SHOWN_CHARACTERS = 80  # of a value that is refused
KINDS = {
    "string": "text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "uri": "a path, an http(s) URL or a data URI",
}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class InputSpec:
    """What a model takes for one of its inputs.

    Attributes:
        name: the input's name at Replicate.
        type: the JSON type; `uri` is a file: a local path here, a URL there.
        required: whether the model refuses to run without it.
        enum: the values allowed, where they are listed.
        minimum: the least number allowed.
        maximum: the greatest.
        maximum_with_reference: the greatest beside a reference image, where that is another one.
        default: what Replicate takes when it is left out; None where the schema names none.
        items: the type of an array's elements.
        also: names of the same thing at other models.
    """

    name: str
    type: InputType
    required: Annotated[bool, Field(strict=True)] = False
    enum: tuple[str | int | float, ...] | None = None
    minimum: Bound | None = None
    maximum: Bound | None = None
    maximum_with_reference: Bound | None = None
    default: Any = None
    items: Literal["string", "integer", "number", "uri"] = "string"
    also: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.enum is not None and not self.enum:
            raise ValueError("enum is []; allowed: at least one value")
        bounds = (self.minimum, self.maximum, self.maximum_with_reference)
        if self.type not in ("integer", "number") and any(bound is not None for bound in bounds):
            raise ValueError(f"minimum and maximum are for integers and numbers; type is {self.type}")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum is {self.minimum}; allowed: at most the maximum, {self.maximum}")
        if self.default is not None:
            self.coerce(self.default)

    @property
    def is_file(self) -> bool:
        """Whether it takes files: one, or a list of them."""
        return self.type == "uri" or (self.type == "array" and self.items == "uri")

    @property
    def allowed(self) -> str:
        """What it may be, in words."""
        return self._allowed(with_reference=False)

    def coerce(self, value: Any, *, with_reference: bool = False) -> Any:
        """The value as the model takes it.

        Text is read as the type asks for (`"8"`, `"true"`, `'["a", "b"]'`), since lists of prompts and command
        lines hold nothing else; a whole number fits where a float was written, and the other way round.

        Args:
            value: what was given.
            with_reference: whether a reference image goes along.

        Raises:
            RequestError: naming the input, what was found and what is allowed.
        """
        try:
            if self.type == "array":
                return [_scalar(self.items, item) for item in listed(value)]
            fitting = self._listed_value(value) if self.enum else _scalar(self.type, value)
            if not self._in_range(fitting, with_reference):
                raise ValueError
        except ValueError:
            allowed = self._allowed(with_reference=with_reference)
            raise RequestError(f"{self.name} is {_shown(value)}; allowed: {allowed}") from None
        return fitting

    def _listed_value(self, value: Any) -> Any:
        """The enum's own value for this one: `8` for `"8"`, `"1"` for `1`."""
        for candidate in self.enum or ():
            if isinstance(value, bool) != isinstance(candidate, bool):
                continue
            if value == candidate or (isinstance(value, str | int | float) and str(value) == str(candidate)):
                return candidate
        raise ValueError

    def _highest(self, with_reference: bool) -> int | float | None:
        lower = self.maximum_with_reference
        return lower if with_reference and lower is not None else self.maximum

    def _in_range(self, value: Any, with_reference: bool) -> bool:
        highest = self._highest(with_reference)
        return (self.minimum is None or value >= self.minimum) and (highest is None or value <= highest)

    def _allowed(self, *, with_reference: bool) -> str:
        if self.enum:
            return ", ".join(str(value) for value in self.enum)
        if self.type == "array":
            return f"a list, each of its elements {KINDS[self.items]}"
        highest = self._highest(with_reference)
        beside = " with a reference image" if highest != self.maximum else ""
        match (self.minimum, highest):
            case (None, None):
                return KINDS[self.type]
            case (low, None):
                return f"{KINDS[self.type]} of at least {low}"
            case (None, high):
                return f"{KINDS[self.type]} of at most {high}{beside}"
            case (low, high):
                return f"{KINDS[self.type]} from {low} to {high}{beside}"


def _scalar(kind: str, value: Any) -> Any:
    """The value as a `kind`; a `ValueError` where it is none."""
    match kind:
        case "boolean":
            return _boolean(value)
        case "integer" | "number":
            return _number(value, whole=kind == "integer")
        case "uri" if isinstance(value, os.PathLike):
            return os.fspath(value)
    if isinstance(value, str):
        return value
    raise ValueError


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else None
    if word in TRUE or word in FALSE:
        return word in TRUE
    raise ValueError


def _number(value: Any, *, whole: bool) -> int | float:
    if isinstance(value, str):
        value = json.loads(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError
    if not whole:
        return value
    if value != int(value):
        raise ValueError
    return int(value)


def listed(value: Any) -> list[Any]:
    """A list of what was given: itself, the JSON list that a text holds, or one element."""
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, str) and value.lstrip().startswith("["):
        with contextlib.suppress(ValueError):  # a file may be named so
            return list(json.loads(value))
    return [value]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
