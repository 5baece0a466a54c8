"""Requests and results as they lie in Redis: nothing twice.

What many requests of a batch have in common is kept once, as a shape of the batch. An entry of the pending list is
its own fields and the number of its shape; `lua/jobs.lua` joins the two when its turn has come. A batch of a
million with one model has one shape, and a waiting request costs its prompt, its name and little more. A result is
kept without the fields that follow from others.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from replibatch.requests import Attempt, BatchResult, RoutedRequest, State

MOST_SHAPES = 100  # of one batch: where no two requests are alike, shapes would save nothing
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)  # made once, not for each text
WHOLE = "-"  # instead of a shape's number: nothing of the entry is in a shape


@dataclass(frozen=True, slots=True)
class PendingEntry:
    """One request that waits in its batch; attempts it has had before it was put back are in `attempts`."""

    id: str
    index: int
    request: RoutedRequest
    attempts: tuple[Attempt, ...] = ()


class Packer:
    """Packs the requests of one batch."""

    def __init__(self) -> None:
        self._numbers: dict[str, str] = {}
        self._fresh: dict[str, str] = {}

    def pack(self, entry: PendingEntry) -> str:
        """An entry as it lies in the list."""
        shared, own = _parts(entry)
        shape = compact(shared)
        number = self._numbers.get(shape)
        if number is None and len(self._numbers) < MOST_SHAPES:
            number = self._numbers[shape] = str(len(self._numbers))
            self._fresh[number] = shape
        if number is None:
            return "\t".join((entry.id, str(entry.index), WHOLE, compact({**shared, **own})))
        return "\t".join((entry.id, str(entry.index), number, compact(own)))

    def fresh(self) -> dict[str, str]:
        """The shapes that the batch does not have yet, by number; each is returned once."""
        fresh, self._fresh = self._fresh, {}
        return fresh


def unpack(entry: str, shapes: dict[str, str]) -> PendingEntry:
    """An entry of the list as it was packed."""
    generation_id, index, number, own = entry.split("\t", 3)
    text = own if number == WHOLE else f"{shapes[number][:-1]},{own[1:]}"
    return PendingEntry(generation_id, int(index), read_request(generation_id, text))


def read_request(generation_id: str, text: str) -> RoutedRequest:
    """A request of its JSON text: packed, or as `RoutedRequest.to_json` gives it."""
    data: dict[str, Any] = {"request_id": generation_id, **json.loads(text)}
    data["output"] = data.pop("folder", "") + data["output"]
    data["inputs"] = {**data.get("inputs", {}), **data.pop("own_inputs", {})}
    return RoutedRequest.from_json(data)


def read_attempts(text: str) -> tuple[Attempt, ...]:
    """Attempts of their JSON text, as it is in a record."""
    return tuple(Attempt(**attempt) for attempt in json.loads(text))


def pack_result(result: BatchResult) -> str:
    """A result as it is kept: JSON, without the fields that `read_result` derives."""
    data = asdict(result)
    prompt = ("prompt", data["prompt"])
    if data["inputs"] and next(iter(data["inputs"].items())) == prompt:
        data["beside_prompt"] = dict(list(data.pop("inputs").items())[1:])
    data["files"] = [_beside(file, _FILE) for file in data["files"]]
    data["attempts"] = [_beside(attempt, _usual_attempt(data)) for attempt in data["attempts"]]
    return compact(_beside(data, _usual_result(data)))


def read_result(text: str) -> BatchResult:
    """The result of its JSON text: packed, or as `BatchResult.to_json` gives it."""
    data: dict[str, Any] = json.loads(text)
    data["attempts"] = [{**_usual_attempt(data), **attempt} for attempt in data.get("attempts", ())]
    if "beside_prompt" in data:
        data["inputs"] = {"prompt": data["prompt"], **data.pop("beside_prompt")}
    return BatchResult.from_json({**_usual_result(data), **data})


_FILE = {"url": None, "sha256": None, "size_bytes": None}


def _usual_attempt(result: dict[str, Any]) -> dict[str, Any]:
    """The defaults of an attempt."""
    return {
        "model": result["model_name"],
        "prediction_id": None,
        "outcome": "succeeded",
        "reason": None,
        "message": None,
        "cost_usd": result.get("cost_usd", 0.0),
        "step": 1,
    }


def _usual_result(result: dict[str, Any]) -> dict[str, Any]:
    """The defaults of a result."""
    state = result.get("state", State.SUCCEEDED)
    return {
        "model_used": result["model_name"],
        "success": state == State.SUCCEEDED,
        "files": [],
        "error": None,
        "duration": 0.0,
        "warnings": (),
        "attempts": [],
        "cost_usd": 0.0,
        "placeholder": state == State.PLACEHOLDER,
        "state": State.SUCCEEDED,
        "inputs": {},
        "steps": (),
        "fields": {},
    }


def _beside(data: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    """The fields that differ from the defaults."""
    return {name: value for name, value in data.items() if name not in usual or value != usual[name]}


def compact(value: Any) -> str:
    """JSON as it is kept in Redis: without spaces, non-ASCII text unescaped."""
    return _ENCODER.encode(value)


def _parts(entry: PendingEntry) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields likely to be shared with other requests, and the request's own."""
    request = entry.request
    folder, slash, name = request.output.rpartition("/")
    own: dict[str, Any] = {"prompt": request.prompt, "output": name}
    if request.request_id != entry.id:
        own["request_id"] = request.request_id
    shared = request.to_json()
    for field in ("then", "made", "paid"):  # names and seeds of their own
        if field in shared:
            own[field] = shared.pop(field)
    for field in ("request_id", "prompt", "output"):
        del shared[field]
    for field in ("fields", "asked"):
        if field in shared:
            own[field] = shared.pop(field)
    shared["folder"] = folder + slash
    inputs = shared.get("inputs", {})
    if seeds := {name: value for name, value in inputs.items() if "seed" in name}:
        own["own_inputs"] = seeds
        shared["inputs"] = {name: value for name, value in inputs.items() if name not in seeds}
    return shared, own
