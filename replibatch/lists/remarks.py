"""What in prompts may be meant, and is often not: it is sent, and said before the run."""

from __future__ import annotations

import re
from collections.abc import Iterator

AS_WORDS = "which Replicate's models read as words; sent as it is"
DIVIDES = f"another program's way to divide prompts, {AS_WORDS}"

_SIGNS = re.compile(r"[\[(<&*`:\"'\u2018\u201c\u00ab]|^#|^//|^\d{1,3}[.)]\s|^-|--|BREAK|[x\u00d7]\s?\d")
_REMARKS = tuple(
    (re.compile(form, re.IGNORECASE if what != DIVIDES else 0), what)
    for form, what in (
        (r"<(?:lora|lyco|hypernet):[^<>]{1,80}>|\bembedding:\w+", f"a LoRA's name, {AS_WORDS}"),
        (r"\([^()]{1,80}:\s?\d*\.?\d+\)|\(\([^()]{1,80}\)\)", f"another program's weight, {AS_WORDS}"),
        (r"\w::-?\d*\.?\d*(?!\w)|\bBREAK\b", DIVIDES),
        (r"^(?:#|//)", "a sign of comments at its beginning; sent with it"),
        (r"(?:^|\s)--?[a-z]{2,}\b", "an option of another program; sent as it is"),
        (r"^(?:[-*\u2022]|\d{1,3}[.)])\s", "a mark of a list at its beginning; sent with it"),
        (r"^\d{1,2}:\d\d(?::\d\d)?\s*(?:[-\u2013]|\s)", "a time at its beginning; sent with it"),
        (r"[\s(][x\u00d7]\s?\d{1,3}\)?$", "a count at its end, which makes no copies (--samples N does)"),
        (r"\[[^\[\]]{1,80}\]", "text in brackets; sent with them"),
        (r"&(?:[a-z]{2,8}|#\d{2,5}|#x[0-9a-f]{2,5});", "HTML's spelling of a sign; sent as it is"),
        (r"</?[a-z][a-z0-9]{0,9}(?: [^<>]{0,200})?/?>", "a tag of HTML; sent as it is"),
        (r"\*\*[^*]{1,200}\*\*|`[^`]{1,200}`", "Markdown; sent as it is"),
        (r"https?://\S{4,}", "an address, which no model opens; sent as words"),
        (
            "^(?:\"[^\"]+\"|'[^']+'|\u2018[^\u2019]+\u2019|\u201c[^\u201d]+\u201d|\u00ab[^\u00bb]+\u00bb)[,;]?$",
            "quotes around all of it; sent with them",
        ),
    )
)
SHOWN = 30  # characters of an example


def remarks(prompt: str) -> Iterator[tuple[str, str]]:
    """What to say of a prompt: each with an example of it.

    Args:
        prompt: as it is sent.
    """
    if not _SIGNS.search(prompt):
        return
    for form, what in _REMARKS:
        if found := form.search(prompt):
            text = " ".join(found[0].split())
            yield what, text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
