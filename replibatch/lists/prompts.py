"""The prompt of an item: a template, the line's columns filled in, alternatives written out."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from replibatch.errors import RequestError
from replibatch.lists.foreign import foreign
from replibatch.lists.templates import placeholder
from replibatch.routing.near import plain

MOST_ALTERNATIVES = 10_000  # written out of one prompt
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}|]*)\}")
_NAMED = re.compile(r"(?<!\{)\{([A-Za-z_][\w .-]{0,39}|)\}(?!\})")
_CHOICE = re.compile(r"\{([^{}]*\|[^{}]*)\}")
_WILDCARD = re.compile(r"__([A-Za-z0-9][\w/-]*?)__")


@dataclass(frozen=True)
class Prompts:
    """How prompts are made of lines.

    Attributes:
        template: `--prompt-template`.
        fill: `--fill`.
        expand: `--expand`.
        literal: `--as-is`.
    """

    template: str | None = None
    fill: bool = False
    expand: bool = False
    literal: bool = False
    _read: dict[Path, list[str]] = field(default_factory=dict, compare=False)

    @property
    def placeholders(self) -> frozenset[str] | None:
        """The columns that the template names, as `plain` writes them; None without a template."""
        if self.template is None:
            return None
        found = (match[1] for match in _PLACEHOLDER.finditer(self.template) if match[1])
        return frozenset(plain(name) for name in found)

    def of(self, prompt: str | None, fields: Mapping[str, Any], folder: Path) -> list[str]:
        """The prompts of a line: one, or each that its alternatives make.

        Args:
            prompt: as the line has it; None where it has none.
            fields: the line's columns.
            folder: where files of alternatives are.

        Raises:
            RequestError: a placeholder that nothing fills, alternatives that are not there, or what other
                programs write into prompts.
        """
        text = prompt or ""
        if not self.literal:
            self._check_templates(text, fields)
        if self.fill and "{" in text:
            text = _filled(text, {name: value for name, value in fields.items() if plain(name) != "prompt"})
        if self.template is not None:
            text = _filled(self.template, {"prompt": text, **fields} if prompt is not None else fields)
        if self.expand:
            return self._expanded(text, folder)
        if not self.literal and ("{" in text or "__" in text):
            self._check(text, fields)
        return [text]

    def _check_templates(self, prompt: str, fields: Mapping[str, Any]) -> None:
        """Refuse what other programs leave in prompts, and placeholders, in the prompt and in `--prompt-template`."""
        for text in (prompt, self.template):
            if not text:
                continue
            reason = foreign(text) or placeholder(text, fields, fill=self.fill or text is self.template)
            if reason:
                raise RequestError(reason)

    def _check(self, text: str, fields: Mapping[str, Any]) -> None:
        """Refuse placeholders that were meant to be replaced, and would be sent as they stand."""
        if not self.fill and (found := _NAMED.search(text)):
            if plain(found[1]) == "prompt":
                raise RequestError(
                    f"{found[0]!r} in the prompt is where a style's template takes the subject; "
                    "expected: the subject in its place, or --as-is"
                )
            there = any(plain(name) == plain(found[1]) for name in fields)
            what = (
                "is the name of a column; expected: --fill to put it in, or --as-is"
                if there
                else ("is filled by nothing; expected: a column of that name and --fill, or --as-is")
            )
            raise RequestError(f"{found[0]!r} in the prompt {what}")
        if found := _CHOICE.search(text) or _WILDCARD.search(text):
            raise RequestError(
                f"{found[0][:40]!r} in the prompt stands for alternatives; "
                "expected: --expand to make each, or --as-is"
            )

    def _expanded(self, text: str, folder: Path) -> list[str]:
        found = list(itertools.islice(self._alternatives(text, folder), MOST_ALTERNATIVES + 1))
        if len(found) > MOST_ALTERNATIVES:
            raise RequestError(f"the prompt has more than {MOST_ALTERNATIVES:,} alternatives; expected: fewer")
        return list(dict.fromkeys(" ".join(each.split(" ")) for each in found))

    def _alternatives(self, text: str, folder: Path) -> Iterator[str]:
        if match := _CHOICE.search(text):  # the innermost one
            if "$$" in match[1]:
                raise RequestError(f"{match[0][:40]!r} in the prompt; expected: alternatives alone, as in {{a|b}}")
            options = [option.strip() for option in match[1].split("|")]
        elif match := _WILDCARD.search(text):
            options = self._wildcard(match[1], folder)
        else:
            yield text
            return
        for option in options:
            yield from self._alternatives(text[: match.start()] + option + text[match.end() :], folder)

    def _wildcard(self, name: str, folder: Path) -> list[str]:
        if ".." in name.split("/") or name.startswith("/"):
            raise RequestError(f"__{name}__ in the prompt; expected: the name of a file beside the list")
        for path in (folder / f"{name}.txt", folder / "wildcards" / f"{name}.txt"):
            if path not in self._read and path.is_file():
                lines = path.read_text("utf-8-sig").splitlines()
                self._read[path] = [line.strip() for line in lines if line.strip() and line[0] != "#"]
            if found := self._read.get(path):
                return found
        raise RequestError(f"__{name}__ in the prompt: no file {name}.txt beside the list, nor in wildcards/")


def _filled(text: str, fields: Mapping[str, Any]) -> str:
    """A text with the line's columns in the place of their names in braces."""
    by_name = {_plain(name): value for name, value in fields.items()}

    def value(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        found = by_name.get(_plain(match[1]))
        if found is None:
            columns = ", ".join(fields) or "none"
            raise RequestError(f"{match[0]!r} is filled by nothing; expected: a column of this line: {columns}")
        return str(found)

    return _PLACEHOLDER.sub(value, text)


_plain = lru_cache(maxsize=4096)(plain)
