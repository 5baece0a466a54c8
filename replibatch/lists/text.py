"""A text with a prompt a line, and what in such a line is no prompt."""

from __future__ import annotations

import re
from collections.abc import Iterable

from replibatch.lists.lines import Line, Mistake, Read
from replibatch.lists.paragraphs import RULE

SUSPECTS = frozenset("#/-=*_~.+`pivsochlfdwgPIVSOCHLFDWGNA")  # first characters of lines that may be no prompts
INVISIBLE = "\ufeff\u200b\u200e\u200f\u2060"  # at the beginning of lines that were joined or copied
_COMMENT = re.compile(r"(#+|//+)\s")
_NO_PROMPTS = tuple(
    (re.compile(form, re.IGNORECASE), what)
    for form, what in (
        (rf"{RULE.pattern}|```.*", "a rule, without a prompt"),
        (r"WEBVTT\b.*|[\d:.,]+ --> [\d:.,]+.*", "of a subtitle"),
        (
            r"[^:]{1,80}:|[*_#\s]*(?:prompt|scene|shot|image|video|page|panel|day|week|slide|chapter|part|section|episode)\s*#?\d+[*_:\s]*",
            "a heading, as it seems",
        ),
        (r"[=*~#_-]{2,}[^=*~#]{1,80}[=*~#_-]{2,}|(?:int|ext)\. .*", "a heading, as it seems"),
        (r"(?:user|human|assistant|chatgpt|claude|gemini|copilot): .*", "a part of a chat"),
        (
            r"(?:sure|of course|certainly|absolutely|great)[!,.].*|"
            r"here(?:'s|\u2019s| are| is)\b.*\b(?:prompts?|ideas|list)\b.*|"
            r"(?:let me know|feel free to|i hope (?:this|these)|hope (?:this|these))\b.*[.!?]|"
            r"(?:would you like|do you want|want me)\b.*\b(?:me|more|another|these|any|prompts?)\b.*[.!?]",
            "talk of an assistant",
        ),
        # As chats are copied: WhatsApp's lines, the headings of Discord and Slack.
        (
            r"\[?\d{1,4}[./-]\d{1,2}[./-]\d{1,4},? \d{1,2}:\d\d.*|\[\d{1,2}:\d\d[^\]]{0,30}\] .*|"
            r".{1,60}\u2014 ?(today|yesterday|\d{1,2}/\d{1,2}/\d{2,4})\b.{0,5}\d{1,2}:\d\d.{0,5}|"
            r".{1,60} \[\d{1,2}:\d\d [AP]M\]",
            "a part of a chat",
        ),
    )
)
_WEB_UI = re.compile(r"Negative(?: prompt)?:|Steps: \d+, |--prompt\b")


def prompts(
    lines: Iterable[tuple[int, str]],
    file: str,
    *,
    comments: str | None = None,
    marker: re.Pattern[str] | None = None,
    literal: bool = False,
) -> Read:
    """Each line that is not blank, as a prompt.

    Args:
        lines: numbered.
        file: the list's name.
        comments: what begins a line that is left out.
        marker: what every line begins with before its prompt; None for nothing.
        literal: take each line as it is, whatever it looks like.
    """
    for number, raw in lines:
        prompt = raw.strip()
        if prompt and prompt[0] in INVISIBLE:
            prompt = prompt.lstrip(INVISIBLE).strip()
        if not prompt or (comments and prompt.startswith(comments)):
            continue
        if literal:
            yield Line(file, number, {"prompt": prompt})
            continue
        marked = marker.match(prompt) if marker is not None else None
        if marker is not None and marked is None:
            yield Mistake(
                file, number, "the line lacks the mark of those before it; expected: the same mark, or --as-is"
            )
            continue
        prompt = prompt[marked.end() :] if marked else prompt
        if (prompt[:1] in SUSPECTS or ":" in prompt) and (reason := _no_prompt(prompt)):
            yield Mistake(file, number, reason)
        else:
            yield Line(file, number, {"prompt": prompt})


def _no_prompt(line: str) -> str | None:
    """What a line is that is no prompt, and what to type, for people; None for a prompt."""
    if found := _COMMENT.match(line):
        sign = found[1]
        return f"the line begins with {sign!r}; expected: --comments '{sign}' to leave such lines out, or --as-is"
    if found := _WEB_UI.match(line):
        return (
            f"the line begins with {found[0].strip()!r}, which is how other tools write settings; "
            "expected: a column for each, as in prompt,negative_prompt,seed; or --as-is"
        )
    for form, what in _NO_PROMPTS:
        if form.fullmatch(line):
            return f"the line is {what}, {line[:30]!r}; expected: the prompts alone; or --as-is"
    return None
