"""Steps after a request, which make something further of an output; `OUTPUT` stands for a step's output.

Step 1 is the request itself; the others are numbered in the order in which they were asked for. Each goes on from the
one before, unless it names another (`after`): so several may branch off from one output.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from replibatch.errors import RequestError

MOST_STEPS = 50  # of one item, the request itself included
DEPTH = 40
_PLACE = re.compile(r"output://(?:(\d{1,4}))?")
_TEXT = re.compile(r"OUTPUT(?:\[(\d{1,4})\])?")


@dataclass(frozen=True)
class Output:
    """Stands for what the step before made: all its files, or with `OUTPUT[n]` the one of that number, from 0.

    Attributes:
        index: None for all.
    """

    index: int | None = None

    def __getitem__(self, index: int) -> Output:
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index <= 9999:
            raise RequestError(f"OUTPUT[{index!r}]; expected: the number of a file, from 0")
        return Output(index)

    def __iter__(self) -> Iterator[Output]:
        raise TypeError("OUTPUT cannot be iterated over: how many files there will be is not known yet")

    @property
    def place(self) -> str:
        """As it stands among a request's inputs."""
        return "output://" if self.index is None else f"output://{self.index}"


OUTPUT = Output()


@dataclass(frozen=True)
class StepRequest:
    """One step after a request.

    Attributes:
        model_name: `owner/name`.
        prompt: its text; empty for a model that needs none; `OUTPUT` for the text that the step before made.
        kwargs: its other inputs.
        after: the number of the step that it goes on from.
        fallback: whether another model may stand in; None for as the request says.
        max_price_usd: the most that one prediction for it may cost.
    """

    model_name: str
    prompt: str = ""
    kwargs: dict[str, Any] = field(default_factory=dict)
    after: int = 1
    fallback: bool | None = None
    max_price_usd: float | None = None


def placed(value: Any, depth: int = 0) -> Any:
    """A value with every `OUTPUT` in it as the text that stands for it among inputs."""
    if isinstance(value, Output):
        return value.place
    if depth < DEPTH and isinstance(value, list | tuple):
        return [placed(each, depth + 1) for each in value]
    if depth < DEPTH and isinstance(value, dict):
        return {name: placed(each, depth + 1) for name, each in value.items()}
    return value


def read(value: Any, depth: int = 0) -> Any:
    """A value of a recipe, with `OUTPUT` and `OUTPUT[n]` as texts, with the same as places."""
    if isinstance(value, str) and (found := _TEXT.fullmatch(value.strip())):
        return f"output://{found[1] or ''}"
    if depth < DEPTH and isinstance(value, list):
        return [read(each, depth + 1) for each in value]
    if depth < DEPTH and isinstance(value, dict):
        return {name: read(each, depth + 1) for name, each in value.items()}
    return value


def output_of(value: Any) -> Output | None:
    """The output that a text among inputs stands for; None for any other value."""
    if isinstance(value, str) and (found := _PLACE.fullmatch(value)):
        return Output(int(found[1]) if found[1] else None)
    return None


def outputs_in(value: Any, depth: int = 0) -> Iterator[Output]:
    """Every output that stands somewhere in a value."""
    if found := output_of(value):
        yield found
    elif depth < DEPTH and isinstance(value, list | tuple | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from outputs_in(each, depth + 1)


def replaced(value: Any, files_of: Callable[[Output], list[str]], depth: int = 0) -> Any:
    """A value with what its outputs stand for: several files go into a list where they are in one, else the first."""
    if found := output_of(value):
        return files_of(found)[0]
    if depth < DEPTH and isinstance(value, list | tuple):
        items: list[Any] = []
        for each in value:
            inner = output_of(each)
            items += files_of(inner) if inner else [replaced(each, files_of, depth + 1)]
        return items
    if depth < DEPTH and isinstance(value, dict):
        return {name: replaced(each, files_of, depth + 1) for name, each in value.items()}
    return value


def check_step(step: StepRequest, number: int) -> None:
    """Refuse a step that cannot be one.

    Args:
        step: with its outputs as `placed` has them.
        number: its own.

    Raises:
        RequestError: naming the step, the value found and the values expected.
    """
    if number > MOST_STEPS:
        raise RequestError(f"step {number} is one too many; expected: at most {MOST_STEPS} steps")
    if isinstance(step.after, bool) or not isinstance(step.after, int) or not 1 <= step.after < number:
        raise RequestError(
            f"step {number}: after is {step.after!r}; expected: the number of a step before it, from 1"
        )
    if not any(outputs_in([step.prompt, step.kwargs])):
        raise RequestError(
            f"step {number} ({step.model_name}) uses nothing of step {step.after}; "
            "expected: OUTPUT in one of its inputs, as in image=OUTPUT"
        )


def leaves(afters: Sequence[int]) -> list[int]:
    """The numbers of the steps that no other goes on from.

    Args:
        afters: for each step from the second on, the step that it goes on from.
    """
    followed = set(afters)
    return [number for number in range(1, len(afters) + 2) if number not in followed]
