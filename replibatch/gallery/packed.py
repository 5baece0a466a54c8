"""The page's data, small: each text and value once, items as lists of their places."""

from __future__ import annotations

import json
import re
from typing import Any

from replibatch.gallery.results_lines import Line

LONGEST_VALUE = 4_000  # characters of an input; a reference image may be a data: URI
LONGEST_PROMPT = 20_000
HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")
WHOLE, REPLACED = 1, 2  # flags of an item


class Packed:
    """Items on their way into the page.

    Attributes:
        values: each text and value once.
        items: those added.
        size: about how many bytes it will take.
    """

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.items: list[list[Any]] = []
        self.size = 0
        self._places: dict[str, int] = {}

    def add(self, line: Line, number: int, files: list[list[str]]) -> None:
        """Add an item.

        Args:
            line: the result.
            number: its place in the page, from 1.
            files: of each file its address and the name of its thumbnail, or an empty one.
        """
        result = line.result
        prompt, whole = _cut(result.prompt or "", LONGEST_PROMPT)
        inputs, inputs_whole = self._pairs({name: v for name, v in result.inputs.items() if name != "prompt"})
        fields, fields_whole = self._pairs(line.own_fields)
        flags = WHOLE * (whole and inputs_whole and fields_whole) + REPLACED * (len(files) < len(result.files))
        attempts = [
            [
                *map(self.place, (each.model, each.prediction_id, each.reason, each.message)),
                each.seconds,
                each.cost_usd,
                *([each.step] if result.steps else []),
            ]
            for each in result.attempts
        ]
        item = [
            number,
            self.place(line.key.hex()),
            self.place(result.request_id),
            self.place(prompt),
            self.place(result.model_name),
            self.place(result.model_used or result.model_name),
            self.place(line.state),
            result.cost_usd,
            result.duration,
            files,
            self.place(result.error),
            [self.place(warning) for warning in result.warnings],
            attempts,
            inputs,
            fields,
            flags,
        ]
        self.items.append(item)
        self.size += 60 + sum(len(address) + len(thumbnail) + 8 for address, thumbnail in files)

    def place(self, value: Any) -> int:
        """Where a value is in `values`."""
        written = f"s{value}" if isinstance(value, str) else json.dumps(value)
        place = self._places.setdefault(written, len(self.values))
        if place == len(self.values):
            self.values.append(value)
            self.size += len(written) + 4
        return place

    def _pairs(self, given: dict[str, Any]) -> tuple[list[int], bool]:
        """Names and values in turn; and whether every name and value is whole."""
        places, whole = [], True
        for name, value in given.items():
            kept, is_whole = _cut(value, LONGEST_VALUE)
            places += [self.place(str(name)), self.place(kept)]
            whole = whole and is_whole
        return places, whole


def _cut(value: Any, most: int) -> tuple[Any, bool]:
    if isinstance(value, bool | int | float) or value is None:
        return value, True
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return (value, True) if len(text) <= most else (f"{text[:200]}…", False)


def as_script(data: dict[str, Any]) -> str:
    """The data as a script that a page from the disk can load: JSON in one text is parsed fastest."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    text = HALF_A_CHARACTER.sub(lambda half: f"\\u{ord(half[0]):04x}", text)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return f"window.replibatchGallery = JSON.parse('{escaped}');\n"
