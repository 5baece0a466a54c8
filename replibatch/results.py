"""What comes back: attempts, the results of steps and of items, and the states between. JSON, nothing else."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Self

from replibatch import contents
from replibatch.errors import StorageError

MODEL_OUT = "out"  # the reason of an attempt that was not made: its model was out
CHECKED_WHOLE_BYTES = 16 * 1024**2  # of an output, before any part is handed on


class State(StrEnum):
    """Where a generation is. Exactly one of these at any time."""

    PENDING = "pending"  # in its batch's list, not yet in the queue
    QUEUED = "queued"  # in the Celery queue, or about to be
    RUNNING = "running"  # in the custody of a worker process
    SUCCEEDED = "succeeded"
    PLACEHOLDER = "placeholder"  # every model failed; the black image stands in
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        """Whether the generation has its one result."""
        return self not in (State.PENDING, State.QUEUED, State.RUNNING)


@dataclass(frozen=True)
class Attempt:
    """One attempt on one model, over.

    Attributes:
        model: `owner/name`.
        prediction_id: Replicate's id; None where nothing was created.
        outcome: `succeeded` or `failed`.
        reason: why it failed, in a word (`sensitive`, `timeout`, …); None for a success.
        message: the same in Replicate's own words.
        seconds: from the grant to the end.
        cost_usd: what Replicate charges for it, by the catalogue's price; None where that is not known.
        step: the number of its step, from 1.
    """

    model: str
    prediction_id: str | None
    outcome: str
    reason: str | None
    message: str | None
    seconds: float
    cost_usd: float | None
    step: int = 1


def total_usd(attempts: Iterable[Attempt]) -> float | None:
    """What attempts cost together; None where the cost of one is not known."""
    costs = [attempt.cost_usd for attempt in attempts]
    return None if None in costs else round(sum(cost for cost in costs if cost is not None), 6)


@dataclass(frozen=True)
class OutputFile:
    """One file that was written.

    Attributes:
        path: where it is, on the machine that reads this.
        url: where Replicate had it (it erases outputs after an hour); None for text and placeholders.
        sha256: of the bytes, hexadecimal.
        size_bytes: how many there are.
    """

    path: str
    url: str | None = None
    sha256: str | None = None
    size_bytes: int | None = None

    def read(self) -> bytes:
        """The whole file.

        Raises:
            StorageError: another was written over it.
        """
        return b"".join(self)

    async def aread(self) -> bytes:
        """The whole file, read in a thread."""
        return await asyncio.to_thread(self.read)

    def __iter__(self) -> Iterator[bytes]:
        """The file in chunks of at most 256 KiB; fits any streaming response.

        Raises:
            StorageError: another was written over it.
        """
        return self.verified(contents.chunks(self.path))

    def verified(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Chunks of the file, none of another file of that name: a small one is checked before it is begun, of a
        large one the end is missing."""
        if self.sha256 is None:
            yield from chunks
            return
        digest, held = hashlib.sha256(), []
        is_small = (self.size_bytes or 0) <= CHECKED_WHOLE_BYTES
        for chunk in chunks:
            digest.update(chunk)
            held.append(chunk)
            if not is_small and len(held) > 1:
                yield held.pop(0)
        if digest.hexdigest() != self.sha256:
            raise StorageError(
                f"{self.path} is not the file of this result any more, another was written over it; "
                "expected: an output name of its own for each request, or none"
            )
        yield from held

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The same chunks, read in a thread."""
        chunks = iter(self)
        while chunk := await asyncio.to_thread(next, chunks, b""):
            yield chunk


@dataclass(frozen=True)
class StepResult:
    """What one step of an item made.

    Attributes:
        step: its number, from 1.
        after: the step with the output it went on from; 0 for the first.
        prompt: its own.
        model_name: the model asked for.
        model_used: the model that made it.
        files: what it made.
        inputs: what that model was given.
        made_at: when its prediction was over, in Unix seconds.
    """

    step: int
    after: int
    prompt: str
    model_name: str
    model_used: str
    files: tuple[OutputFile, ...]
    inputs: dict[str, Any]
    made_at: float

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """From what `dataclasses.asdict` gives."""
        values = known_fields(cls, data)
        values["files"] = tuple(OutputFile(**known_fields(OutputFile, file)) for file in data["files"])
        return cls(**values)


@dataclass(frozen=True)
class BatchResult:
    """The one outcome of a request.

    Attributes:
        request_id: the request's.
        prompt: the request's.
        model_name: the model asked for.
        model_used: the model that made the file; None where there is none.
        success: whether a model made the file. A placeholder is not a success.
        files: what was written, the placeholder included.
        error: why there is no success, in one line for people.
        duration: seconds from the first grant to the end.
        warnings: what was changed on the way: inputs dropped, models switched.
        attempts: every attempt, in order.
        cost_usd: what all attempts cost; None where that is not known.
        placeholder: whether the file is the black image.
        state: the final state.
        inputs: what the last model was given, seed included: enough to make it again.
        steps: of an item of several steps, those that were made, with their files; empty for one of a single step.
        fields: the caller's own data that came with the request.
    """

    request_id: str
    prompt: str
    model_name: str
    model_used: str | None
    success: bool
    files: tuple[OutputFile, ...] = ()
    error: str | None = None
    duration: float = 0.0
    warnings: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    cost_usd: float | None = 0.0
    placeholder: bool = False
    state: State = State.SUCCEEDED
    inputs: dict[str, Any] = field(default_factory=dict)
    steps: tuple[StepResult, ...] = ()
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def file_paths(self) -> list[str]:
        """The paths of `files`."""
        return [file.path for file in self.files]

    @property
    def fell_back(self) -> bool:
        """Whether it is a success of another model than the first that was tried, in one of its steps."""
        first: dict[int, str] = {}
        for attempt in self.attempts:
            first.setdefault(attempt.step, attempt.model)
        if not self.success or not first:
            return False
        made: dict[int, str | None] = {step.step: step.model_used for step in self.steps} or {1: self.model_used}
        return any(made.get(step, model) != model for step, model in first.items())

    def with_files(self, changed: Callable[[OutputFile], OutputFile]) -> Self:
        """The same with other files: those of its last step, and of those before it; each is changed once."""
        files = {file: changed(file) for file in dict.fromkeys([*self.files, *self.files_of_steps()])}
        steps = tuple(replace(step, files=tuple(files[file] for file in step.files)) for step in self.steps)
        return replace(self, files=tuple(files[file] for file in self.files), steps=steps)

    def files_of_steps(self) -> list[OutputFile]:
        """The files of every step that was made; none for an item of a single step."""
        return [file for step in self.steps for file in step.files]

    @property
    def known_cost_usd(self) -> float:
        """What of `cost_usd` is known."""
        if self.cost_usd is not None:
            return self.cost_usd
        return round(sum(attempt.cost_usd or 0.0 for attempt in self.attempts), 6)

    def to_json(self) -> dict[str, Any]:
        """A dict for JSON: a line of `results.jsonl`."""
        return {**asdict(self), "file_paths": self.file_paths}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The opposite of `to_json`."""
        values = known_fields(cls, data)
        values["files"] = tuple(OutputFile(**known_fields(OutputFile, file)) for file in data["files"])
        values["attempts"] = tuple(Attempt(**known_fields(Attempt, attempt)) for attempt in data["attempts"])
        values["warnings"] = tuple(data["warnings"])
        values["state"] = State(data["state"])
        values["steps"] = tuple(StepResult.from_json(each) for each in data.get("steps", ()))
        return cls(**values)


def known_fields(kind: type, data: dict[str, Any]) -> dict[str, Any]:
    """What a class has a field for: a result may be of a later version than its reader."""
    names = {each.name for each in fields(kind)}
    return {name: value for name, value in data.items() if name in names}
