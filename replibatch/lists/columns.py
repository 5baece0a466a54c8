"""The meaning of each column of a list: an own word, an input of a model, or the user's own data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from replibatch.errors import RequestError
from replibatch.lists.inputs import Inputs
from replibatch.lists.lines import Line
from replibatch.lists.pictures import is_picture
from replibatch.lists.recipe import steps_of
from replibatch.lists.words import OWN, PROMPTS
from replibatch.routing.near import nearest, plain

Role = Literal["own", "input", "input of others", "own column", "ignored"]

NAMES_SHOWN = 12
WORDS_OF_A_PROMPT = 4
SWITCHES = frozenset(("approved", "disabled", "done", "enabled", "skip"))
FILE_NAMES = frozenset(("file", "filename", "imagename", "outputfile", "outputname", "savename", "target"))
COPIES = frozenset(
    (
        "copies",
        "count",
        "howmany",
        "n",
        "num",
        "qty",
        "quantity",
        "repeat",
        "repeats",
        "samples",
        "times",
        "variations",
    )
)
_SHORTENED = re.compile(r"-?\d\.\d+E\+\d{2,}")  # what Excel saves of a long number
_CLOCK = re.compile(r"0?(\d{1,2}):0?(\d{1,2})(:00)?")  # what Excel makes of 16:9


@dataclass(frozen=True)
class Wanted:
    """The options that name columns.

    Attributes:
        mapped: `--map`: the column, dotted for nested ones, by the own word or input that it stands for.
        ignored: `--ignore`.
        strict: `--strict`.
        placeholders: the columns that a `--prompt-template` names; None without one.
    """

    mapped: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    strict: bool = False
    placeholders: frozenset[str] | None = None


@dataclass
class Cells:
    """A line, understood.

    Attributes:
        prompt, model, output, id: the own words; None where the line has none.
        then: the steps after the first.
        inputs: of models, by their names.
        carried: the user's own columns.
    """

    prompt: str | None = None
    model: str | None = None
    output: str | None = None
    id: str | None = None
    then: list[dict[str, Any]] = field(default_factory=list)
    inputs: dict[str, Any] = field(default_factory=dict)
    carried: dict[str, Any] = field(default_factory=dict)


class Columns:
    """The columns of one list.

    Args:
        names: of all columns, in order.
        wanted: the options that name columns.
        inputs: the names of the inputs that this run may use.
        folder: where relative paths of the list start.
        beside: names of what its document holds beside the list.

    Attributes:
        roles: by column: what it is, and the own word or input that it means.
        mistakes: what keeps the list from being made, for people.
        notes: what may not be meant, for people.
    """

    def __init__(
        self, names: Iterable[str], wanted: Wanted, inputs: Inputs, folder: Path, beside: Iterable[str] = ()
    ) -> None:
        self._names = list(names)
        self._wanted = wanted
        self._inputs = inputs
        self._folder = folder
        self._beside = list(beside)
        self.mistakes: list[str] = []
        self.notes: list[str] = []
        self.roles: dict[str, tuple[Role, str]] = {}
        self._paths: dict[str, tuple[str, list[str]]] = {}  # by meaning: the column of a dotted name, and the rest
        self._map()
        for name in self._names:
            if name not in self.roles:
                self.roles[name] = self._role(name)
        self._choose_prompt()
        self._check_twice()
        self._check_beside()
        self.notes += [
            f"column {name!r} {note}"
            for name, (role, _) in self.roles.items()
            if role == "own column" and (note := _without_effect(plain(name)))
        ]

    @property
    def paths(self) -> dict[str, str]:
        """The own words and inputs that are nested in columns, by the dotted name of where they are."""
        return {".".join((name, *rest)): target for target, (name, rest) in self._paths.items()}

    def meaning(self, target: str) -> str | None:
        """The column that stands for an own word or an input."""
        return next((name for name, role in self.roles.items() if role[1] == target), None)

    def cells(self, line: Line) -> Cells:
        """A line by what its columns mean.

        Raises:
            RequestError: a cell is not what its column takes, or a picture that nothing says what to do with.
        """
        cells = Cells()
        for name, value in line.fields.items():
            role, target = self.roles[name]
            if (role == "input" or target == "id") and isinstance(value, str) and _SHORTENED.fullmatch(value):
                raise RequestError(
                    f"column {name!r} holds {value!r}, a number that Excel shortened; expected: all its digits, "
                    f"or --ignore {_typed(name)}"
                )
            if role == "input":
                cells.inputs[target] = self._as_enum(target, value) if isinstance(value, str) else value
            elif role == "own":
                self._set(cells, target, value)
            elif role in ("own column", "input of others"):
                if is_picture(value, name, self._folder):
                    raise RequestError(self._about_picture(name))
                if isinstance(value, dict):
                    self._refuse_nested(name, value)
                cells.carried[name] = value
                if role == "input of others":  # a model along a fallback may have it
                    cells.inputs[target] = value
        for target, (name, path) in self._paths.items():
            found = _at(line.fields.get(name), path)
            if found is not None and target in OWN:
                self._set(cells, target, found)
            elif found is not None:
                cells.inputs[target] = found
        return cells

    def _refuse_nested(self, name: str, value: dict[str, Any]) -> None:
        """Refuse inputs within a column that is carried: they would not be sent."""
        mapped = [path[0] for column, path in self._paths.values() if column == name]
        for key in value:
            if key not in mapped and (found := self._inputs.named(key)):
                raise RequestError(
                    f"column {name!r} holds {key!r}, an input, which is not read there; "
                    f"expected: --map {found}={name}.{key}, or --ignore {name}.{key}"
                )

    def _set(self, cells: Cells, word: str, value: Any) -> None:
        if word == "tags":
            cells.carried["tags"] = value
            return
        if word == "then":
            cells.then = steps_of(value)
            return
        if word == "id" and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise RequestError(f"{word} is {value!r}; expected: text")
        setattr(cells, word, value)

    def _map(self) -> None:
        """What the command line says comes first."""
        for target, column in self._wanted.mapped.items():
            found = self._column(column)
            head, _, rest = column.partition(".")
            if found:
                self.roles[found] = ("own" if target in OWN else "input", target)
            elif rest and (found := self._column(head)):
                self._paths[target] = found, rest.split(".")
            else:
                self.mistakes.append(f"--map {target}={column}: no column {column!r}; {self._found()}")
        for column in self._wanted.ignored:
            if found := self._column(column):
                self.roles[found] = "ignored", ""
            elif column.partition(".")[0] not in self._names and column not in self._beside:
                self.mistakes.append(f"--ignore {column}: no such column; {self._found()}")

    def _column(self, name: str) -> str | None:
        if name in self._names:
            return name
        return next((each for each in self._names if plain(each) == plain(name)), None)

    def _role(self, name: str) -> tuple[Role, str]:
        word = plain(name)
        if word in OWN:
            if word in self._wanted.mapped:  # another column is it
                return "own column", ""
            return "own", word
        if word in (self._wanted.placeholders or ()):
            return "own column", ""
        found = self._inputs.named(name)
        role: Role = "input"
        if found is None and word not in PROMPTS:
            found, role = self._inputs.of_another(name), "input of others"
        if found is None and word not in PROMPTS and self._inputs.are_open:
            found, role = name, "input"
        if found is not None and found not in self._wanted.mapped:
            return role, found
        if found is None and word not in PROMPTS:
            self._check_near(name)
        return "own column", ""

    def _check_near(self, name: str) -> None:
        near = nearest(name, ["model"]) if plain(name) not in ("mode", "models") else None
        near = near or self._inputs.near(name)
        if near and near not in self._wanted.mapped:
            typed = _typed(name)
            self.mistakes.append(
                f"column {name!r} is nearly {near!r}; expected: --map {near}={typed} to use it so, "
                f"or --ignore {typed} to leave it out"
            )
        elif self._wanted.strict:
            self.mistakes.append(f"column {name!r} is not understood (--strict); {self._known()}")

    def _choose_prompt(self) -> None:
        """Where there is no `prompt`, exactly one of the usual other names serves."""
        if self.meaning("prompt") or "prompt" in self._paths or not self._names:
            return
        others = [name for name in self._names if plain(name) in PROMPTS and self.roles[name][0] == "own column"]
        if len(others) == 1:
            self.roles[others[0]] = "own", "prompt"
        elif others:
            told = ", ".join(map(repr, others))
            self.mistakes.append(
                f"no column 'prompt', and {told} could be it; expected: --map prompt={_typed(others[0])}"
            )
        elif self._wanted.placeholders is None and self._needs_prompt():
            self.mistakes.append(f"no column 'prompt'; {self._found()}; {_about_no_prompt(self._names)}")

    def _check_beside(self) -> None:
        """Refuse inputs that a document says once for all its items: they would be left out."""
        for name in self._beside:
            word = name.rpartition(".")[2]
            if name in self._wanted.ignored:
                continue
            if plain(word) == "model" or (found := self._inputs.named(word) or self._inputs.near(word)):
                typed = "-m MODEL" if plain(word) == "model" else f"-i {found}=VALUE"
                self.mistakes.append(
                    f"{name!r} stands beside the list, and is not read; expected: {typed}, or --ignore {name}"
                )
            else:
                self.notes.append(f"{name!r} stands beside the list, and is not read")

    def _needs_prompt(self) -> bool:
        return any(spec.required for model in self._inputs.models if (spec := model.inputs.get("prompt"))) or (
            not self._inputs.models
        )

    def _check_twice(self) -> None:
        meant: dict[str, str] = {}
        for name, (_, target) in self.roles.items():
            if not target:
                continue
            if target in meant:
                both = f"columns {meant[target]!r} and {name!r} both mean {target!r}"
                self.mistakes.append(
                    f"{both}; expected: one name for both, or --ignore {_typed(name)}, "
                    f"or --ignore {_typed(meant[target])}"
                )
            meant[target] = name

    def _as_enum(self, target: str, value: str) -> str:
        """A ratio that Excel took for a time, as the model writes it."""
        clock = _CLOCK.fullmatch(value)
        if not clock:
            return value
        ratio = f"{clock[1]}:{clock[2]}"
        specs = (model.input(target) for model in self._inputs.models)
        return ratio if any(spec and spec.enum and ratio in spec.enum for spec in specs) else value

    def _about_picture(self, name: str) -> str:
        owners = (model.reference_param for model in self._inputs.models if model.reference_param)
        target, typed = next(owners, "input_image"), _typed(name)
        if plain(name) in FILE_NAMES:
            return (
                f"column {name!r} holds a picture, and is not an input; expected: --map output={typed} to name files "
                f"so, --map {target}={typed} to send it, or --ignore {typed}"
            )
        return (
            f"column {name!r} holds a picture, and is not an input; expected: --map {target}={typed} to send it, "
            f"or --ignore {typed} to leave it out"
        )

    def _found(self) -> str:
        shown = ", ".join(self._names[:NAMES_SHOWN])
        return f"found: {shown}{', …' if len(self._names) > NAMES_SHOWN else ''}"

    def _known(self) -> str:
        names = sorted({spec.name for model in self._inputs.models for spec in model.inputs.values()} | set(OWN))
        return f"expected: {', '.join(names)}; --map NAME=COLUMN, or --ignore COLUMN"


def _about_no_prompt(names: list[str]) -> str:
    """What to do where no column is the prompt."""
    if {"class_type", "inputs"} <= {*names}:
        return "this is a workflow of ComfyUI, which is no list; expected: its prompts alone"
    if names[0].startswith(("#", "//")):
        return f"the first line is a comment; expected: --comments '{'#' if names[0][0] == '#' else '//'}'"
    near = [name for name in names if "prompt" in plain(name) and "negative" not in plain(name)]
    near = near or [name for name in names if nearest(name, ["prompt"])]
    if len(near) > 1:
        return f"{', '.join(map(repr, near))} could be it, and a line has one; expected: a line a prompt"
    if near and "," in near[0]:
        return "each line is in quotes as a whole; expected: the list saved anew, without them"
    if not near and _is_no_header(names):
        more = ",seed" if len(names) > 1 else ""
        whole = "" if more else "; or --format txt, where each line is a prompt"
        longest = _typed(max(names, key=lambda name: len(name.split())))
        return (
            "where that line is a prompt itself, expected: a line above it with the names of columns, "
            f"as in prompt{more}{whole}; where it names columns: --map prompt={longest}"
        )
    where = _typed(near[0]) if near else "messages.0.content" if "messages" in names else "COLUMN"
    template = ", ".join(f"{{{name}}}" for name in names[:2])
    more = f", or --prompt-template, as in '{template}'" if where == "COLUMN" and len(names) > 1 else ""
    return f"expected: a header that names it, or --map prompt={where}{more}"


def _without_effect(word: str) -> str | None:
    """What to say of a column that seems to ask for something, and is only carried; None for any other.

    Args:
        word: its name, as `plain` writes it.
    """
    if word in COPIES:
        return "makes no copies (--samples N makes N of each)"
    if word in SWITCHES:
        return "leaves no line out"
    if word in ("prefix", "suffix"):
        return "is put to no prompt (--prompt-template does)"
    is_text = any(part in word for part in ("description", "alttext", "negativ", "prompt"))
    return "is not sent" if is_text else None


def _is_no_header(names: list[str]) -> bool:
    """Whether the first line of a table is a prompt and its inputs."""
    return any(len(name.split()) >= WORDS_OF_A_PROMPT for name in names) or all(
        re.fullmatch(r"[\d.:x]+", name) or " " in name for name in names
    )


def _typed(name: str) -> str:
    """A column's name as a shell takes it."""
    return name if re.fullmatch(r"[\w.-]+", name) else f"'{name}'"


def _at(value: Any, path: list[str]) -> Any:
    """What a nested value holds under a dotted name; None where there is nothing."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value
