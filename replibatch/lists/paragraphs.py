"""Prompts over several lines: joined where that is asked for, noticed where it is not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from replibatch.lists.lines import Unreadable

LONGEST_PARAGRAPH = 100_000  # characters
RULE = re.compile(r"([-=*_~.+#])\1*")  # a line that divides
LINES_SEEN = 300
SHORTEST_WRAP = 50  # characters of the longest line where an editor may have broken lines
LONGEST_BLOCK = 8  # lines of a paragraph
SENTENCE = 30  # characters that a line of prose has on average, at least
WAYS = (
    "expected: --paragraphs, where blank lines divide the prompts, "
    "or --format txt, where each line is a prompt of its own; what is no prompt deleted"
)

_OPEN_END = re.compile(
    r"(?:\b(?:a|an|the|of|with|and|or|to|from|by|for|into|its|their|his|her|that|which|while|very)|\()$"
)
_GOES_ON = re.compile(r"(?:and|or|but|of|which|while|that|whose)\b")
PARTS = ("positive", "negative", "steps")
_LABEL = re.compile(r"\**([A-Za-z][A-Za-z /_-]{1,24})\**:\**\s")
_END = re.compile(r"[.!?\u2026\u3002\"\u201d)]$")

Block = list[tuple[int, str]]


def joined(numbered: Iterable[tuple[int, str]], comments: str | None = None) -> Iterator[tuple[int, str]]:
    """Paragraphs, each on one line with the number of its first; blank lines and rules divide them.

    Args:
        numbered: the lines.
        comments: what begins a line that is left out.

    Raises:
        Unreadable: one is far too long for a prompt.
    """
    first, characters = 0, 0
    parts: list[str] = []
    for number, raw in numbered:
        line = raw.strip()
        if line and not RULE.fullmatch(line):
            if comments and line.startswith(comments):
                continue
            first = first if parts else number
            parts.append(line)
            characters += len(line)
            if characters > LONGEST_PARAGRAPH:
                raise Unreadable("a paragraph without end; expected: a blank line between prompts", first)
        elif parts:
            yield first, " ".join(parts)
            parts, characters = [], 0
    if parts:
        yield first, " ".join(parts)


def check(lines: list[str]) -> str | None:
    """Refuse a text whose lines are parts of prompts.

    Args:
        lines: its first ones, blank ones too.

    Returns:
        What to say where blank lines make groups, and each line may well be a prompt; None for nothing.

    Raises:
        Unreadable: they are.
    """
    blocks = _blocks(lines[:LINES_SEEN])
    pairs = [pair for block in blocks for pair in pairwise(block)]
    if not pairs:
        return None
    divided = len(blocks) > 1
    broken = [pair for pair in pairs if _goes_on(pair[0][1], pair[1][1], divided=divided)]
    if not divided and _OPEN_END.search(pairs[-1][1][1]):
        broken = []  # no sentence ends so: they are fragments
    ends_open = bool(broken) and len(broken) >= len(pairs) * (0.1 if divided else 0.5)  # prompts end in any word
    if ends_open or _is_wrapped(pairs) or (divided and _is_prose(blocks)):
        (number, above), (_, below) = (broken or pairs)[0]
        raise Unreadable(
            f"a prompt seems to go over several lines ({_end(above)!r} and then {below[:30]!r}), and each line would "
            f"be paid for; {WAYS}",
            number,
        )
    if divided and any(len(block) > 1 for block in blocks):
        return "blank lines make groups; each line is a prompt of its own (with --paragraphs: each group is one)"
    return None


def refuse_labels(lines: list[str]) -> None:
    """Refuse a text whose lines are the fields of records, as in `Title: …` and `Prompt: …`.

    Args:
        lines: its first ones, blank ones too.

    Raises:
        Unreadable: they are.
    """
    blocks = _blocks(lines[:LINES_SEEN])
    found = [[_LABEL.match(line) for _, line in block] for block in blocks]
    flat = [match[1].lower() for block in found for match in block if match]
    labels = list(dict.fromkeys(flat))
    of_prompts = any("prompt" in label or label in PARTS for label in labels) and len(flat) * 2 >= sum(
        map(len, blocks)
    )
    alike = len(blocks) > 1 and all(len(block) > 1 and all(block) for block in found)
    if len(labels) > 1 and (of_prompts or (alike and len(flat) >= 2 * len(labels))):
        raise Unreadable(
            f"lines begin with {labels[0].capitalize() + ':'!r} and {labels[1].capitalize() + ':'!r}, which is how "
            "other tools write settings and fields; expected: a table with a column for each, as in prompt,seed; "
            "or --format txt, where each line is a prompt",
            blocks[0][0][0],
        )


def _blocks(lines: list[str]) -> list[Block]:
    blocks: list[Block] = [[]]
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        if line and not RULE.fullmatch(line):
            blocks[-1].append((number, line))
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def _goes_on(above: str, below: str, *, divided: bool) -> bool:
    """Whether a line is the middle of a sentence: it ends or the next begins as no prompt does."""
    if _OPEN_END.search(above) or (_GOES_ON.match(below) and not _END.search(above)):
        return True
    if not divided:
        return False
    lower = below[0].islower()
    return lower and (above.endswith((",", ";")) or (above[0].isupper() and not _END.search(above)))


def _is_wrapped(pairs: list[tuple[tuple[int, str], tuple[int, str]]]) -> bool:
    """Whether an editor has broken the lines: the next word never had room."""
    width = max(len(line) for pair in pairs for _, line in pair)
    if width < SHORTEST_WRAP or len(pairs) < 2 or not pairs[0][0][1][0].isupper():
        return False
    full = sum(len(above) + 1 + len(below.split()[0]) > width for (_, above), (_, below) in pairs)
    lower = sum(below[0].islower() for _, (_, below) in pairs)
    return full >= 0.8 * len(pairs) and lower * 2 >= len(pairs)


def _is_prose(blocks: list[Block]) -> bool:
    """Whether the groups between blank lines are paragraphs of sentences."""
    lines = [line for block in blocks for _, line in block]
    return (
        all(1 < len(block) <= LONGEST_BLOCK for block in blocks)
        and all(_END.search(block[-1][1]) for block in blocks)
        and sum(map(len, lines)) >= SENTENCE * len(lines)
    )


def _end(line: str) -> str:
    return line if len(line) <= 30 else f"…{line[-29:]}"
