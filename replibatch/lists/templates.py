"""Placeholders in prompts that were meant to be replaced, in the forms that people and programs write them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from replibatch.routing.near import plain

# fmt: off
SLOTS = frozenset(  # what templates leave open, as `plain` writes it
    [
        "action", "adjective", "age", "angle", "animal", "artist", "artstyle", "background", "brand",
        "cameraangle", "character", "city", "clothing", "color", "colorpalette", "colors", "colour", "company",
        "companyname", "country", "description", "emotion", "environment", "gender", "item", "lens", "light",
        "lighting", "location", "mainsubject", "material", "medium", "mood", "name", "noun", "object", "outfit",
        "person", "place", "pose", "product", "productname", "prompt", "scene", "season", "setting", "style",
        "subject", "text", "texture", "theme", "timeofday", "title", "topic", "type", "verb", "weather", "year"
    ]
)
# fmt: on

_SIGNS = re.compile(r"[\[<{$%_]")
_FORMS = re.compile(
    r"\{\{\s*(?P<braces>[A-Za-z_][\w .-]{0,39}?)\s*\}\}"
    r"|(?<![\w$])\$(?:\{(?P<shell>[A-Za-z_][\w .-]{0,39})\}|(?P<dollar>[A-Za-z_]\w{0,39}))"
    r"|(?<![\w%])%(?:\((?P<python>\w{1,40})\)[sd]|[sd](?!\w)|(?P<batch>[A-Z_]{2,40})%)"
    r"|(?<!\w)_{3,}(?!\w)"
    r"|<(?P<angle>[A-Za-z][\w -]{0,39})>"
    r"|\[(?P<square>[A-Za-z][^\[\]:|]{0,39})\]"
)
_ASKS = re.compile(r"(insert|your|enter|choose|replace|fill in)\b|.*\bhere$", re.IGNORECASE)
_CAPITALS = re.compile(r"[A-Z]+(?:[ _-][A-Z]+|_?\d)+")  # one word alone may be on a sign


def placeholder(prompt: str, columns: Iterable[str], *, fill: bool) -> str | None:
    """A placeholder that nothing has filled, for people; None for none.

    Args:
        prompt: as it would be sent, except that `{{` stands for `{` where columns are filled in.
        columns: of the line.
        fill: whether `{column}` has been filled in.
    """
    if not _SIGNS.search(prompt):
        return None
    for found in _FORMS.finditer(prompt):
        name = found[found.lastgroup] if found.lastgroup else ""
        is_column = bool(name) and plain(name) in {plain(column) for column in columns}
        if not is_column and not _is_sure(found.lastgroup, name, fill=fill):
            continue
        if is_column:
            return f"{found[0]!r} in the prompt is the name of a column; expected: {{{name}}} and --fill, or --as-is"
        return (
            f"{found[0]!r} in the prompt is a placeholder that nothing fills; expected: the words that were meant, "
            "or {name}, a column 'name' and --fill; or --as-is to send it as it is"
        )
    return None


def _is_sure(form: str | None, name: str, *, fill: bool) -> bool:
    """Whether a form is no way of writing a prompt: brackets may be one, and `<s0>` is a trained model's own word."""
    if form in ("square", "angle"):
        bare = plain(name).rstrip("0123456789")
        return bare in SLOTS or bool(_ASKS.match(name) or _CAPITALS.fullmatch(name))
    return not (form == "braces" and fill)
