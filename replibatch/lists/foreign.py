"""What other programs leave in prompts, and no model of Replicate's reads."""

from __future__ import annotations

import re

from replibatch.routing.near import plain

_FLAG = re.compile(
    r"(?:^|\s)(?:--(ar|aspect|v|version|stylize|s|style|chaos|no|seed|q|quality|niji|iw|tile|raw|sref|cref)\b"
    r"|[\u2013\u2014](ar|v|s|stylize|q|chaos|niji|iw|seed)\s+\d)"  # a word processor's dash, before a number
)
# fmt: off
NOTHING = frozenset([  # as programs and tables write that there is no prompt, or a sum; as `plain` writes it
    "...", "?", "grandtotal", "n/a", "nan", "nil", "none", "null", "prompt", "prompts", "subtotal", "tbd", "total",
    "undefined", "[objectobject]", "\u2026", "\u2013", "\u2014",
])
# fmt: on
LONGEST_NOTHING = 15  # characters
_WORD = re.compile(r"[A-Za-z]|[^\x00-\x7f\u200b-\u200f\u2060\ufeff]")  # or a sign of another script, or an emoji
_FILE_NAME = re.compile(r"\S+\.(?:png|jpe?g|webp|gif|bmp|tiff?|mp4|mov)", re.IGNORECASE)
_COMMAND = re.compile(r"/imagine\b")
_EXCEL_ERROR = re.compile(r"#(NAME|VALUE|REF|N/A|DIV/0|NUM|NULL|ERROR)[?!]?")
_FORMULA = re.compile(r"=\s*(?:\$?[A-Z]{1,3}\$?\d+\b|[A-Z][A-Z.]+\(|\")")
_PICTURE_FIRST = re.compile(r"https?://\S+(?:\.(?:png|jpe?g|webp|gif)(?:\?\S*)?(?=\s|$)|$)", re.IGNORECASE)
_TWICE_ENCODED = re.compile(r"Ã[¡-º¼-¿Ÿ]|â€[™œ¦]")  # UTF-8 read as cp1252, and saved so


def foreign(prompt: str) -> str | None:
    """What in a prompt is another program's, for people; None for nothing."""
    prompt = prompt.strip()
    return _midjourney(prompt) or _table(prompt)


def _midjourney(prompt: str) -> str | None:
    """What only Midjourney reads."""
    if ("--" in prompt or not prompt.isascii()) and (found := _FLAG.search(prompt)):
        return (
            f"the prompt has Midjourney's '--{found[1] or found[2]}', which Replicate's models do not read; "
            "expected: a prompt without it, and a column or -i for it, as in aspect_ratio=16:9; or --as-is"
        )
    if _COMMAND.match(prompt):
        return (
            "the prompt begins with Midjourney's '/imagine', which Replicate's models do not read; "
            "expected: the words after it alone, or --as-is"
        )
    if _PICTURE_FIRST.match(prompt):
        return (
            "the prompt begins with the address of a picture, which no model opens there; expected: a column "
            "'input_image' with it, and a model that takes pictures; or --as-is"
        )
    return None


def _table(prompt: str) -> str | None:
    """What tables and programs leave in the place of a prompt."""
    is_nothing = len(prompt) <= LONGEST_NOTHING and (plain(prompt) in NOTHING or not _WORD.search(prompt))
    if is_nothing:
        return f"the prompt is {prompt!r}; expected: a prompt, or the row deleted; or --as-is"
    if _FILE_NAME.fullmatch(prompt):
        return f"the prompt is {prompt[:30]!r}, the name of a file; expected: words, and a column for it"
    if _FORMULA.match(prompt) or _EXCEL_ERROR.fullmatch(prompt):
        what = "a formula" if prompt.startswith("=") else "an error"
        return f"the prompt is {prompt[:30]!r}, {what} of a table; expected: the words that were meant; or --as-is"
    if not prompt.isascii() and (found := _TWICE_ENCODED.search(prompt)):
        return (
            f"the prompt has {found[0]!r}, UTF-8 that was read as cp1252 before it was saved; "
            "expected: the list saved anew from its source, or --as-is"
        )
    return None
