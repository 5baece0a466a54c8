"""Text of others (prompts, errors, names) where people read it: what would act on a terminal is shown instead.

Escape sequences write to clipboards and titles, and forge lines; characters that turn the direction of text show
another name than the one there is. They are written as JSON writes them, `\\u001b`, so that JSON stays JSON.
"""

from __future__ import annotations

import re
from typing import Any

# Control characters but tab and newline, C1, what turns directions, separators of lines, half pairs, hidden tags.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
_TOKENS = re.compile(r"\br8_[A-Za-z0-9]{20,}")  # as Replicate makes them, of any account
SHOWN_CHARACTERS = 200
LONGEST_QUOTE = 2000  # characters
SHORTEST_SECRET = 6  # characters; a shorter one would be found in any text

_secrets: set[str] = set()


def visible(text: str) -> str:
    """The text with every such character written out; newlines and tabs stay."""
    return _HIDDEN.sub(_written_out, text) if _HIDDEN.search(text) else text


def one_line(text: str) -> str:
    """The same on one line, whatever it holds: no part can pass for a line of ours."""
    return visible(" ".join(text.split()) if "\n" in text or "\r" in text else text)


def shown(value: Any, characters: int = SHOWN_CHARACTERS) -> str:
    """A value as messages show it: like `repr`, of bounded length, whatever it is."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 4 * characters:
        return f"a whole number of about {value.bit_length() * 3 // 10:,} digits"
    if isinstance(value, str) and len(value) > characters:
        return repr(value[: characters - 1] + "…")
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # numbers of thousands of digits, or nesting without end, somewhere in it
        return f"a {type(value).__name__}"
    return text if len(text) <= characters else text[: characters - 1] + "…"


def conceal(secret: str) -> None:
    """From now on `quoted` leaves this text out: a server may repeat what it was sent."""
    if len(secret) >= SHORTEST_SECRET:
        _secrets.add(secret)


def quoted(text: str) -> str:
    """What a server said, as it may be kept and shown: of bounded length, without secrets of this process."""
    if len(text) > LONGEST_QUOTE:
        text = text[: LONGEST_QUOTE + max(map(len, _secrets), default=0)]
    for secret in _secrets:
        text = text.replace(secret, "[secret]")
    text = _TOKENS.sub("[secret]", text)
    return text if len(text) <= LONGEST_QUOTE else f"{text[: LONGEST_QUOTE - 1]}…"


def _written_out(match: re.Match[str]) -> str:
    number = ord(match[0])
    if number < 0x10000:
        return f"\\u{number:04x}"
    number -= 0x10000
    return f"\\u{0xD800 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"
