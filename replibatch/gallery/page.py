"""A batch's results as one page that opens from the disk: no server, nothing from the network."""

from __future__ import annotations

import hashlib
import html
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO, TextIO
from urllib.parse import quote

from replibatch.lists.disk_map import DiskMap
from replibatch.requests import BatchResult, State
from replibatch.storage.atomic import staged

MOST_SHOWN = 20_000  # what a browser opens without effort; the totals count all
LAST = 1 << 62  # the place of a result that names none
LONGEST_INPUT = 200  # characters; a reference image may be a data: URI

_FIELDS = {each.name for each in fields(BatchResult)}


def write_gallery(results_jsonl: Path, destination: Path, title: str) -> None:
    """Write the page, whole or not at all.

    The files it shows are not copied: it names them relative to its own place, so a folder can be moved as a whole.
    Memory does not grow with the number of results.

    Args:
        results_jsonl: lines of `BatchResult.to_json()` plus `index`; of one request the newest counts, and a line
            that is not whole (a process died while writing it) does not.
        destination: the page.
        title: its heading.

    Raises:
        OSError: the results cannot be read, or the page cannot be written.
    """
    with results_jsonl.open("rb") as lines, staged(destination) as stage:
        with stage.path.open("x", encoding="utf-8") as page:
            places = _Places(results_jsonl.absolute().parent, destination.absolute().parent)
            _write_page(page, _in_order(lines), places, title)
        stage.commit()


@dataclass
class _Totals:
    """What the page says of the whole batch."""

    count: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0
    states: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)

    def add(self, result: BatchResult, state: str) -> None:
        self.count += 1
        self.cost_usd = round(self.cost_usd + result.known_cost_usd, 6)
        self.seconds = round(self.seconds + sum(attempt.seconds for attempt in result.attempts), 3)
        self.states[state] += 1
        self.models[_model(result)] += 1


def shown_state(result: BatchResult) -> str:
    """The state in the page's words: `fallback` is a success of another model than the first that was tried."""
    if result.state == State.SUCCEEDED and result.attempts and result.attempts[0].model != result.model_used:
        return "fallback"
    return result.state.value


def _write_page(page: TextIO, results: Iterator[BatchResult], places: _Places, title: str) -> None:
    head, rest = _part("gallery.html").split("{{items}}")
    middle, tail = rest.split("{{totals}}")
    head = head.replace("{{style}}", _part("gallery.css")).replace("{{title}}", html.escape(title))
    tail = tail.replace("{{script}}", _part("gallery.js"))
    totals = _Totals()
    page.write(head)
    for result in results:
        state = shown_state(result)
        if totals.count < MOST_SHOWN:
            page.write((",\n" if totals.count else "") + _embedded(_item(totals.count, result, state, places)))
        totals.add(result, state)
    page.write(middle + _embedded(vars(totals)) + tail)


def _in_order(lines: BinaryIO) -> Iterator[BatchResult]:
    """The newest result of each request, by index: found in one pass, read in another."""
    with DiskMap() as indexes, DiskMap() as offsets:
        offset = 0
        for line in lines:
            if (found := _parsed(line)) is not None:
                index, result = found
                request = hashlib.sha256(result.request_id.encode()).digest()[:16]
                if (earlier := indexes.get(request)) is not None:
                    offsets.discard(earlier.to_bytes(8, "big") + request)
                indexes[request] = index
                offsets[index.to_bytes(8, "big") + request] = offset
            offset += len(line)
        for key in offsets:
            lines.seek(offsets.get(key) or 0)
            if (found := _parsed(lines.readline())) is not None:
                yield found[1]


def _parsed(line: bytes) -> tuple[int, BatchResult] | None:
    """A line's index and result; None where it is not whole."""
    try:
        data = json.loads(line)
        result = BatchResult.from_json({name: value for name, value in data.items() if name in _FIELDS})
        return min(max(0, int(data.get("index", LAST))), LAST), result
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None


@dataclass(frozen=True)
class _Places:
    """Where the results and the page are."""

    results: Path
    page: Path

    def address(self, path: str) -> str:
        """A file's address as the page names it, percent-encoded."""
        whole = self.results / path
        try:
            return quote(Path(os.path.relpath(whole, self.page)).as_posix())
        except ValueError:  # another drive of Windows
            return whole.as_uri()


def _item(place: int, result: BatchResult, state: str, places: _Places) -> dict[str, Any]:
    """What a card and its close-up show; what is empty is left out."""
    item = {
        "number": place + 1,
        "id": result.request_id,
        "prompt": result.prompt,
        "model": _model(result),
        "asked": result.model_name,
        "state": state,
        "cost": result.cost_usd,
        "seconds": result.duration,
        "files": [places.address(path) for path in result.file_paths],
        "error": result.error,
        "warnings": list(result.warnings),
        "attempts": [asdict(attempt) for attempt in result.attempts],
        "inputs": {name: _shortened(value) for name, value in result.inputs.items() if name != "prompt"},
    }
    return {name: value for name, value in item.items() if value not in (None, [], {})}


def _model(result: BatchResult) -> str:
    return result.model_used or result.model_name


def _shortened(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_INPUT else f"{text[:LONGEST_INPUT]}…"


def _embedded(data: Any) -> str:
    """JSON that can end no script element."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def _part(name: str) -> str:
    return (resources.files("replibatch.gallery") / "page_files" / name).read_text(encoding="utf-8")
