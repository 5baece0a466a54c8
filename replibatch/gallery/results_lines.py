"""`results.jsonl` as a page shows it: the newest result of each item, in the list's order, and the whole bill."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, Self

from replibatch.lists.disk_map import DiskMap
from replibatch.requests import BatchResult, State

LAST = 1 << 62  # the place of a result that names none
MICRO = 1_000_000  # dollars are kept as whole millionths

_FIELDS = {each.name for each in fields(BatchResult)}


@dataclass(frozen=True)
class Line:
    """One line.

    Attributes:
        index: the item's place in its list, from 0.
        key: what tells the item from every other, 16 bytes.
        result: its result.
        own_fields: the caller's own data that came with the request.
    """

    index: int
    key: bytes
    result: BatchResult
    own_fields: dict[str, Any]

    @property
    def state(self) -> str:
        """The state in a page's words: `fallback` is a success of another model than the first that was tried."""
        return shown_state(self.result)


def shown_state(result: BatchResult) -> str:
    """The state in a page's words: `fallback` is a success of another model than the first that was tried."""
    if result.state == State.SUCCEEDED and result.fell_back:
        return "fallback"
    return result.state.value


class ResultLines:
    """The lines of a results file; memory does not grow with their number.

    The key that `run` writes distinguishes items, so two of one id (two models, two lists in one folder) are two.
    Id, model and prompt distinguish lines without a key. A line that is not whole (a process died while
    writing it) does not count.

    Args:
        path: the file.

    Attributes:
        earlier_count: results that a newer one of the same item stands for.
        first_key: of the file's first line, which stays the same however long it grows.

    Raises:
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.earlier_count = 0
        self.first_key = b""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._file: BinaryIO = stack.enter_context(self._path.open("rb"))
            self._indexes = stack.enter_context(DiskMap())  # by item
            self._offsets = stack.enter_context(DiskMap())  # by index, then by where the item was first seen
            self._newest = stack.enter_context(DiskMap())  # by item: the place of its newest line
            self._owners = stack.enter_context(DiskMap())  # by file: the place of the newest line that has it
            self._earlier = stack.enter_context(DiskMap())  # by item and prediction: what only earlier lines paid
            self._read()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[Line]:
        """The newest line of each item, by index. Files that a later item has replaced are left out."""
        for place in self._offsets:
            offset = self._offsets.get(place) or 0
            line = self._at(offset)
            if line is not None:
                for attempt in line.result.attempts:
                    self._earlier.discard(_digest(line.key, attempt.prediction_id))
                yield line

    def owns(self, line: Line, path: str) -> bool:
        """Whether a file is still this line's, and no later item has been written to its place."""
        return self._owners.get(_digest(path)) in (None, self._newest.get(line.key))

    def earlier_cost_usd(self) -> float:
        """What was paid for results that newer ones stand for; complete once all lines have been read."""
        return sum(self._earlier.get(key) or 0 for key in self._earlier) / MICRO

    def _read(self) -> None:
        offset = 0
        with self._path.open("rb") as file:
            for sequence, raw in enumerate(file):
                if (line := parsed(raw)) is not None:
                    self._note(line, offset, sequence)
                offset += len(raw)

    def _note(self, line: Line, offset: int, sequence: int) -> None:
        self.first_key = self.first_key or line.key
        if (earlier := self._newest.get(line.key)) is not None:
            self._supersede(line, earlier)
        place = self._indexes.get(line.key)
        first = sequence if place is None else place
        self._indexes[line.key] = first
        self._newest[line.key] = offset
        self._offsets[line.index.to_bytes(8, "big") + first.to_bytes(8, "big")] = offset
        for path in line.result.file_paths:
            self._owners[_digest(path)] = offset

    def _supersede(self, line: Line, earlier: int) -> None:
        old = self._at(earlier)
        if old is None:
            return
        first = self._indexes.get(line.key) or 0
        self._offsets.discard(old.index.to_bytes(8, "big") + first.to_bytes(8, "big"))
        kept = {attempt.prediction_id for attempt in line.result.attempts}
        if old.result == line.result:  # two runs that watched one batch
            return
        self.earlier_count += 1
        for attempt in old.result.attempts:
            if attempt.prediction_id not in kept and attempt.cost_usd:
                self._earlier[_digest(line.key, attempt.prediction_id)] = round(attempt.cost_usd * MICRO)

    def _at(self, offset: int) -> Line | None:
        self._file.seek(offset)
        return parsed(self._file.readline())


def parsed(raw: bytes | str) -> Line | None:
    """A line; None where it is not whole."""
    try:
        data = json.loads(raw)
        result = BatchResult.from_json({name: value for name, value in data.items() if name in _FIELDS})
        index = min(max(0, int(data.get("index", LAST))), LAST)
        own_fields = data.get("fields") or {}
        key = data.get("key") or [result.request_id, result.model_name, result.prompt]
        return Line(index, _digest(key), result, own_fields if isinstance(own_fields, dict) else {})
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None


def _digest(*told: Any) -> bytes:
    plain = [each.hex() if isinstance(each, bytes) else each for each in told]
    return hashlib.sha256(json.dumps(plain).encode()).digest()[:16]
