"""Readers of lists yield lines with their place, and mistakes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from replibatch.errors import ListError

Fields = dict[str, Any]

NUMBERS_SHOWN = 5  # of the lines that share a mistake
KINDS_SHOWN = 20
_DETAILS = re.compile(r"'[^']*'|\"[^\"]*\"|[\d.]+")


@dataclass(slots=True)
class Line:
    """One item of a list, before its columns are understood.

    Attributes:
        file: the name of the list, for people.
        number: of its first line, row or element, from 1.
        fields: by column name or key, without empty ones.
        name: the name of its output without an extension, where the list says one otherwise than by a column.
    """

    file: str
    number: int
    fields: Fields
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake in one place.

    Attributes:
        file: the name of the list, for people.
        number: of the line; 0 for the list as a whole.
        reason: for people: the fault, the expected form, and the option to type.
    """

    file: str
    number: int
    reason: str


Read = Iterator[Line | Mistake]


class Unreadable(Exception):
    """The rest of a list cannot be read.

    Args:
        reason: for people: the fault, and the expected form.
        number: the line; 0 for the list as a whole.
    """

    def __init__(self, reason: str, number: int = 0) -> None:
        self.number = number
        super().__init__(reason)


@dataclass
class _Kind:
    first: Mistake
    count: int = 0
    numbers: list[int] = field(default_factory=list)  # of the others, the first few

    def __str__(self) -> str:
        place = self.first.file
        if self.first.number:
            place += f", line {self.first.number}"
        if self.count > 1:
            told = ", ".join(map(str, self.numbers))
            place += f" (and {self.count - 1:,} more: {told}{', …' if self.count - 1 > len(self.numbers) else ''})"
        return f"{place}: {self.first.reason}"


class Mistakes:
    """Mistakes by kind, as people read them: a line each kind, with how many and the first line numbers."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], _Kind] = {}
        self._more = 0

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def add(self, mistake: Mistake) -> None:
        """Note one. Those of one file that differ only in names and numbers are of one kind."""
        key = mistake.file, _DETAILS.sub("…", mistake.reason)
        if key not in self._kinds and len(self._kinds) >= KINDS_SHOWN:
            self._more += 1
            return
        kind = self._kinds.setdefault(key, _Kind(mistake))
        kind.count += 1
        if 1 < kind.count <= NUMBERS_SHOWN + 1:
            kind.numbers.append(mistake.number)

    def raise_any(self) -> None:
        """Raise all mistakes together.

        Raises:
            ListError: there are some.
        """
        if not self._kinds:
            return
        lines = [str(kind) for kind in self._kinds.values()]
        if self._more:
            lines.append(f"and {self._more:,} more mistakes, of other kinds")
        raise ListError(lines)
