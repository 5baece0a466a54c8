"""Objects of other tools, and our own results, as the fields of a line."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import Any

from replibatch.lists.disk_map import DiskMap
from replibatch.lists.lines import Fields

RESULT_KEYS = {"request_id", "model_name", "attempts", "success"}
OWN_ID = "r"  # what the ids begin with that replibatch makes up for items without one
MADE_UP_ID_LENGTH = 33
PREDICTION_KEYS = ("status", "urls")
TOP_LEVEL = ("id", "output", "tags")  # of Replicate's form, beside `input`


class Records:
    """Turns the objects of one list into fields, and remembers of which form they were.

    Attributes:
        forms: of other tools, that were seen.
        beside: the names of what stands beside the list in its document, and is not read.
    """

    def __init__(self) -> None:
        self.forms: set[str] = set()
        self.beside: list[str] = []
        self._newest: DiskMap | None = None
        self._settled = False

    def settle(self) -> None:
        """All have been seen once: from now on only the newest result of an item has fields."""
        self._settled = True

    def close(self) -> None:
        """Leave nothing behind."""
        if self._newest is not None:
            self._newest.close()

    def fields(self, record: dict[str, Any], number: int) -> Fields | None:
        """The fields of an object; None where a later one stands for the same item.

        Args:
            record: the object.
            number: its line.
        """
        if record.keys() >= RESULT_KEYS:
            self.forms.add("results.jsonl of an earlier run")
            return _result(record) if self._is_newest(record, number) else None
        if isinstance(record.get("body"), dict) and "prompt" not in record:
            self.forms.add("OpenAI batch lines")
            return _without_empty({"id": record.get("custom_id"), **record["body"]})
        if isinstance(record.get("input"), dict) and "prompt" not in record:
            self.forms.add("Replicate's inputs")
            return _prediction(record)
        return _without_empty(record)

    def _is_newest(self, record: dict[str, Any], number: int) -> bool:
        item = str(record.get("key") or record["request_id"])
        key = hashlib.sha256(item.encode("utf-8", "surrogatepass")).digest()[:16]
        if self._newest is None:
            self._newest = DiskMap()
        if not self._settled:
            self._newest[key] = number
        return self._newest.get(key) == number


def _result(record: dict[str, Any]) -> Fields:
    """A result as the item that makes it again."""
    request_id = str(record["request_id"])
    made_up = request_id.startswith(OWN_ID) and len(request_id) == MADE_UP_ID_LENGTH
    inputs = {name: value for name, value in (record.get("inputs") or {}).items() if name != "prompt"}
    fields = {
        "prompt": record.get("prompt"),
        "model": record.get("model_used") or record["model_name"],
        "id": None if made_up else request_id,
        **inputs,
        **(record.get("fields") or {}),
    }
    paths = [str(path) for path in record.get("file_paths") or ()]
    if len(paths) == 1 and not PurePosixPath(paths[0]).is_absolute():
        fields["output"] = paths[0]
    return _without_empty(fields)


def _prediction(record: dict[str, Any]) -> Fields:
    """Replicate's own form: a request to create a prediction, or a prediction."""
    version = str(record.get("version") or "")
    model = record.get("model") or (version if "/" in version else None)
    beside: Fields = {"model": model}
    if any(key in record for key in PREDICTION_KEYS):
        beside["id"] = record.get("id")
    else:
        beside |= {key: value for key, value in record.items() if key in TOP_LEVEL}
    return _without_empty({**beside, **record["input"]})


def _without_empty(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if value is not None and value != ""}
