"""One input of a model: what it may be, and a value made to fit or refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from replibatch.catalog.values import KINDS, fit, is_exactly, listed
from replibatch.errors import RequestError

InputType = Literal["string", "integer", "number", "boolean", "uri", "array", "object", "secret", "any"]
ItemType = Literal["string", "integer", "number", "boolean", "uri", "array", "object", "any"]
Bound = Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True, allow_inf_nan=False)]

SHOWN_CHARACTERS = 80  # of a value that is refused


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class InputSpec:
    """What a model takes for one of its inputs.

    Attributes:
        name: the input's name at Replicate.
        type: the JSON type. `uri` is a file: a local path here, a URL there; `secret` is given as `env:NAME`; `any`
            takes what one of `any_of` takes, or any JSON value where that is empty.
        required: whether the model refuses to run without it.
        enum: the values allowed, where they are listed.
        minimum: the least number allowed.
        maximum: the greatest.
        maximum_with_reference: the greatest beside a reference image, where that is another one.
        default: what Replicate takes when it is left out; None where the schema names none.
        nullable: whether null is a value of its own; left out, the default holds.
        items: the type of an array's elements.
        any_of: the alternatives, the first that fits holds.
        also: names of the same thing at other models.
    """

    name: str
    type: InputType
    required: Annotated[bool, Field(strict=True)] = False
    enum: tuple[str | bool | int | float, ...] | None = None
    minimum: Bound | None = None
    maximum: Bound | None = None
    maximum_with_reference: Bound | None = None
    default: Any = None
    nullable: Annotated[bool, Field(strict=True)] = False
    items: ItemType = "string"
    any_of: tuple[InputSpec, ...] = ()
    also: tuple[str, ...] = field(default=())

    @field_validator("any_of", mode="before")
    @classmethod
    def _alternatives_in_full(cls, alternatives: Any) -> Any:
        """Every alternative with a name, where the file leaves it out."""
        if not isinstance(alternatives, list | tuple):
            return alternatives
        return [{"name": "", **each} if isinstance(each, Mapping) else each for each in alternatives]

    def __post_init__(self) -> None:
        if self.enum is not None and not self.enum:
            raise ValueError("enum is []; allowed: at least one value")
        bounds = (self.minimum, self.maximum, self.maximum_with_reference)
        if self.type not in ("integer", "number") and any(bound is not None for bound in bounds):
            raise ValueError(f"minimum and maximum are for integers and numbers; type is {self.type}")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum is {self.minimum}; allowed: at most the maximum, {self.maximum}")
        if self.any_of and self.type != "any":
            raise ValueError(f"any_of is for the type any; type is {self.type}")
        if self.default is not None:
            self.coerce(self.default)

    @property
    def is_file(self) -> bool:
        """Whether it takes files: one, or a list."""
        return self.type == "uri" or self.takes_files_as_list or any(each.is_file for each in self.any_of)

    @property
    def takes_files_as_list(self) -> bool:
        """Whether its files go as a list, even a single one."""
        if self.any_of:
            return not any(each.type == "uri" for each in self.any_of) and any(
                each.takes_files_as_list for each in self.any_of
            )
        return self.type == "array" and self.items == "uri"

    @property
    def is_secret(self) -> bool:
        """Whether only the model may see it."""
        return self.type == "secret" or any(each.is_secret for each in self.any_of)

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
            RequestError: naming the input, the value found and the values allowed; a secret's value stays hidden.
        """
        if value is None and self.nullable:
            return None
        try:
            return self._fitted(value, with_reference)
        except (ValueError, OverflowError):
            allowed = self._allowed(with_reference=with_reference)
            found = "given in plain" if self.is_secret else _shown(value)
            raise RequestError(f"{self.name} is {found}; allowed: {allowed}") from None

    def _fitted(self, value: Any, with_reference: bool) -> Any:
        """The value as the model takes it; a `ValueError` where it cannot be."""
        if self.any_of:
            return self._first_that_fits(value, with_reference)
        if self.type == "array":
            return [fit(self.items, item) for item in listed(value)]
        fitting = self._listed_value(value) if self.enum else fit(self.type, value)
        if not self._in_range(fitting, with_reference):
            raise ValueError
        return fitting

    def _first_that_fits(self, value: Any, with_reference: bool) -> Any:
        """The value for the alternative that takes it unchanged; else converted for the first that allows it."""
        as_it_stands = [each for each in self.any_of if is_exactly(each.type, value)]
        for each in [*as_it_stands, *self.any_of]:
            try:
                return each._fitted(value, with_reference)
            except (ValueError, OverflowError):
                continue
        raise ValueError

    def _listed_value(self, value: Any) -> Any:
        """The enum's own value for this one: `8` for `"8"`, `"1"` for `1`."""
        for candidate in self.enum or ():
            if isinstance(value, bool) != isinstance(candidate, bool) and not isinstance(value, str):
                continue
            if value == candidate or (isinstance(value, str | int | float) and _text(value) == _text(candidate)):
                return candidate
        raise ValueError

    def _highest(self, with_reference: bool) -> int | float | None:
        lower = self.maximum_with_reference
        return lower if with_reference and lower is not None else self.maximum

    def _in_range(self, value: Any, with_reference: bool) -> bool:
        highest = self._highest(with_reference)
        return (self.minimum is None or value >= self.minimum) and (highest is None or value <= highest)

    def _allowed(self, *, with_reference: bool) -> str:
        if self.any_of:
            return ", or ".join(dict.fromkeys(each._allowed(with_reference=with_reference) for each in self.any_of))
        if self.enum:
            return ", ".join(_text(value) for value in self.enum)
        if self.type == "array":
            return f"a list, each of its elements {KINDS[self.items]}"
        return f"{KINDS[self.type]}{self._bounds(with_reference)}"

    def _bounds(self, with_reference: bool) -> str:
        highest = self._highest(with_reference)
        beside = " with a reference image" if highest != self.maximum else ""
        match (self.minimum, highest):
            case (None, None):
                return ""
            case (low, None):
                return f" of at least {low}"
            case (None, high):
                return f" of at most {high}{beside}"
            case (low, high):
                return f" from {low} to {high}{beside}"


def _text(value: Any) -> str:
    """A value of an enum as a list of prompts writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python writes out
        text = "a number of very many digits"
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
