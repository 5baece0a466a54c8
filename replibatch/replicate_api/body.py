"""The body of an answer: bounded before it is read, parsed whole where it can be, and row by row where it cannot."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic_core import from_json

MOST_DEPTH = 150  # of parsed JSON; pydantic's own bound is a little higher
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)


def parsed(content: bytes) -> Any:
    """The JSON of a body.

    Half a surrogate pair, as in a text that was cut off within an emoji, becomes `?`.

    Raises:
        ValueError: it is no JSON, or nested too deep, or has a number that is too long.
    """
    try:
        return from_json(content, allow_inf_nan=True)
    except ValueError:
        if b"\\ud" not in content.lower():
            raise
    try:
        whole = json.dumps(json.loads(content), ensure_ascii=False).encode(errors="replace")
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    return from_json(whole, allow_inf_nan=True)


def is_whole(content: bytes) -> bool:
    """Whether a body is one object from its first brace to its last, though its members may not parse."""
    try:
        return content.lstrip()[:1] == b"{" and all(True for _ in _members(content))
    except ValueError:
        return False


def page_of(content: bytes) -> tuple[list[Any], str | None, int]:
    """The rows of a page of the account's list, and the address of the next page.

    A row that is no JSON, or no object, harms no other: it is left out.

    Returns:
        The rows, the next page's address or None, and how many rows were left out.

    Raises:
        ValueError: it is no page.
    """
    try:
        listing = parsed(content)
    except ValueError:
        return _split(content)
    if not isinstance(listing, dict) or not isinstance(listing.get("results"), list):
        raise ValueError("no list of results")
    rows = [row for row in listing["results"] if isinstance(row, dict)]
    following = listing.get("next")
    return rows, following if isinstance(following, str) else None, len(listing["results"]) - len(rows)


def _split(content: bytes) -> tuple[list[Any], str | None, int]:
    """The same where the page cannot be parsed as a whole: each row by itself."""
    found = list(_members(content))
    if not any(name == b'"results"' for name, _ in found):
        raise ValueError("no list of results")
    rows, left_out, following = [], 0, None
    for name, text in found:
        if name == b'"next"':
            following = str(parsed(text))
        elif name == b'"results"' and text:
            try:
                row = parsed(text)
            except ValueError:
                row = None
            if isinstance(row, dict):
                rows.append(row)
            else:
                left_out += 1
    return rows, following, left_out


def _members(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The top-level texts of an object, and the objects and lists in its list `results`, each with its name.

    A body that ends in the middle is no page.
    """
    depth, name, start, in_results = 0, b"", 0, False
    for token in _TOKEN.finditer(content):
        kind = token[0][:1]
        if kind == b'"':
            if depth == 1:
                is_name = content[token.end() : token.end() + 20].lstrip()[:1] == b":"
                if is_name:
                    name = token[0]
                else:
                    yield name, token[0]
        elif kind in b"{[":
            depth += 1
            if depth == 2 and kind == b"[" and name == b'"results"':
                in_results = True
                yield name, b""
            elif depth == 3 and in_results:
                start = token.start()
        else:
            if depth == 3 and in_results:
                yield b'"results"', content[start : token.end()]
            elif depth == 2:
                in_results = False
            depth -= 1
    if depth:
        raise ValueError("it ends in the middle")
