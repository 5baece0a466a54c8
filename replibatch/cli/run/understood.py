"""How a list was understood, in words, and the question before much is spent."""

from __future__ import annotations

import sys

import click

from replibatch.cli.errors import Failure
from replibatch.cli.formatting import count, dollars, short
from replibatch.foreign_text import one_line
from replibatch.lists import Understanding, Understood

PROMPT_CHARACTERS = 60
COLUMNS_SHOWN = 12
NOTES_SHOWN = 12
WIDTH = 10


def lines_of(understanding: Understanding) -> list[str]:
    """For people, a fact a line."""
    lines = []
    for file in understanding.files:
        lines += _file(file)
    lines.append(_fact("prompts", _prompts(understanding)))
    for (asked, taken), number in understanding.models.items():
        made_by = short(asked) if asked == taken else f"{short(taken)} instead of {short(asked)}"
        lines.append(_fact("model", f"{made_by}: {count(number, 'item')}"))
    for note, number in understanding.notes.most_common(NOTES_SHOWN):
        lines.append(_fact("note", f"{note}: {count(number, 'item')}"))
    lines.append(_fact("files", ", ".join(understanding.first_names) + (", …" if understanding.items > 2 else "")))
    return [one_line(line) for line in lines]


def confirm(cost_usd: float | None, limit_usd: float, *, yes: bool) -> None:
    """Ask before a list is started that costs more than a limit, or an unknown amount; on a terminal alone.

    Args:
        cost_usd: the estimate; None where it is not known.
        limit_usd: up to this nothing is asked.
        yes: the answer, where it was given beforehand.

    Raises:
        Failure: the answer is no.
    """
    known = cost_usd is not None
    if yes or (cost_usd is not None and cost_usd <= limit_usd) or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    what = f"about {dollars(cost_usd)}" if known and cost_usd is not None else "a price that is not known"
    if not click.confirm(f"This costs {what}. Start?", default=False, err=True):
        raise Failure("not started; --yes answers, REPLIBATCH_CONFIRM_USD sets when this is asked", 2)


def _file(file: Understood) -> list[str]:
    encoding = f", {file.encoding}" if file.encoding else ""
    forms = f" ({', '.join(file.forms)})" if file.forms else ""
    lines = [f"{file.name}: {file.written}{forms}{encoding}, {count(file.lines, 'line')}"]
    if file.note:
        lines.append(_fact("note", file.note))
    if file.columns is None:
        return lines
    if used := file.used():
        lines.append(_fact("columns", _listed(_renamed(name, meaning) for name, meaning in used.items())))
    if carried := file.roles("own column"):
        lines.append(_fact("carried", f"{_listed(carried)} (no input; comes back with the result)"))
    if ignored := file.roles("ignored"):
        lines.append(_fact("ignored", _listed(ignored)))
    return lines


def _renamed(name: str, meaning: str) -> str:
    return name if name == meaning else f"{name} → {meaning}"


def _prompts(understanding: Understanding) -> str:
    distinct = understanding.distinct_prompts
    how_many = "more than 100,000 different" if distinct is None else f"{distinct:,} different"
    first = ", ".join(_quoted(prompt) for prompt in dict.fromkeys(understanding.first_prompts))
    if understanding.last_prompt not in understanding.first_prompts:
        first += f" … {_quoted(understanding.last_prompt)}"
    return f"{how_many}: {first}"


def _quoted(prompt: str) -> str:
    text = " ".join(prompt.split())
    return f'"{text}"' if len(text) <= PROMPT_CHARACTERS else f'"{text[: PROMPT_CHARACTERS - 1]}…"'


def _listed(names: object) -> str:
    told = [str(name) for name in names]  # type: ignore[attr-defined]
    return ", ".join(told[:COLUMNS_SHOWN]) + (
        f" and {len(told) - COLUMNS_SHOWN} more" if len(told) > COLUMNS_SHOWN else ""
    )


def _fact(name: str, fact: str) -> str:
    return f"  {name:<{WIDTH}}{fact}"
