"""How a list was understood, to be said before anything is spent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from replibatch.lists.columns import Columns
from replibatch.lists.items import Item
from replibatch.lists.remarks import remarks

MOST_DISTINCT = 100_000  # prompts counted apart
MOST_NOTES = 100  # different ones
NAMES_SHOWN = 2


@dataclass
class Understood:
    """One file of a list.

    Attributes:
        name: the file's.
        written: its format.
        encoding: None where it has none.
        lines: how many items it names.
        columns: what they mean; None where it has none.
        forms: of other tools, that its records have.
        note: what may not be meant, for people; None for nothing.
    """

    name: str
    written: str
    encoding: str | None
    columns: Columns | None = None
    lines: int = 0
    forms: list[str] = field(default_factory=list)
    note: str | None = None

    def roles(self, role: str) -> dict[str, str]:
        """The columns of a role, with what each means."""
        return (
            {name: found[1] for name, found in self.columns.roles.items() if found[0] == role} if self.columns else {}
        )

    def used(self) -> dict[str, str]:
        """The columns that are own words or inputs, nested ones too, with what each means."""
        nested = self.columns.paths if self.columns else {}
        return {**nested, **self.roles("own"), **self.roles("input"), **self.roles("input of others")}

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        prompt = next((name for name, meaning in self.used().items() if meaning == "prompt"), None)
        return {
            "file": self.name,
            "format": self.written,
            "encoding": self.encoding,
            "lines": self.lines,
            "forms": self.forms,
            "note": self.note,
            "prompt_column": prompt,
            "columns": self.used(),
            "carried": list(self.roles("own column")),
            "ignored": list(self.roles("ignored")),
        }


@dataclass
class Understanding:
    """How a list was understood; add its items as they come.

    Attributes:
        files: of the list.
        models: items by the model asked for and the one that takes them.
        notes: items by what was changed, left out, or may not be meant.
        first_prompts, last_prompt, first_names: as they will be.
    """

    files: list[Understood] = field(default_factory=list)
    models: Counter[tuple[str, str]] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    first_prompts: list[str] = field(default_factory=list)
    last_prompt: str = ""
    first_names: list[str] = field(default_factory=list)
    items: int = 0
    _distinct: set[int] = field(default_factory=set)
    _remarks: dict[str, str] = field(default_factory=dict)  # the note of each, with its first example

    def add(self, item: Item) -> None:
        """Count an item."""
        request, routed = item.request, item.routed
        self.items += 1
        self.models[request.model_name, routed.model.name] += 1
        for step in item.steps:
            self.models[step.request.model_name, step.routed.model.name] += 1
        of_steps = [f"step {step.number}: {note}" for step in item.steps for note in step.routed.warnings]
        for note in (*routed.warnings, *of_steps):
            if note in self.notes or len(self.notes) < MOST_NOTES:
                self.notes[note] += 1
        for what, example in remarks(request.prompt):
            self.notes[self._remarks.setdefault(what, f"the prompt has {example!r}: {what}")] += 1
        if len(self._distinct) <= MOST_DISTINCT:
            self._distinct.add(hash(request.prompt))
        if len(self.first_prompts) < NAMES_SHOWN:
            self.first_prompts.append(request.prompt)
            self.first_names.append(item.name)
        self.last_prompt = request.prompt

    @property
    def distinct_prompts(self) -> int | None:
        """How many prompts differ; None for more than 100,000."""
        return len(self._distinct) if len(self._distinct) <= MOST_DISTINCT else None

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "files": [file.to_json() for file in self.files],
            "models": [
                {"asked": asked, "taken": taken, "items": count} for (asked, taken), count in self.models.items()
            ],
            "notes": [{"note": note, "items": count} for note, count in self.notes.most_common()],
            "distinct_prompts": self.distinct_prompts,
            "first_prompts": self.first_prompts,
            "last_prompt": self.last_prompt,
            "first_names": self.first_names,
        }
