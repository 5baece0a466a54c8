"""Requests, attempts, results, and the states between.

`BatchRequest` and `BatchResult` are what callers hold. A `RoutedRequest` is a request as it travels through
Redis: checked, routed to a model that can take it, its seed fixed. All are JSON, nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import secrets
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from os import PathLike, fspath
from typing import Any, Self
from urllib.parse import urlsplit

from replibatch import contents
from replibatch.errors import RequestError, StorageError
from replibatch.foreign_text import shown
from replibatch.money import LARGEST_PRICE_USD
from replibatch.untrusted import arguments

DEPTH_LOOKED_AT = 40
PRIORITIES = ("high", "normal", "low")
LONGEST_TAG = 64
CHECKED_WHOLE_BYTES = 16 * 1024**2  # of an output, before any part is handed on
LONGEST_URL = 2048
LARGEST_WHOLE = 10**20  # seeds have up to 64 bits
ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # no i, l, o, u: ids are read aloud and retyped


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


def new_id(length: int = 12) -> str:
    """A random id of `length` characters, 5 bits each."""
    return "".join(ID_ALPHABET[byte & 31] for byte in secrets.token_bytes(length))


def _is_text(value: object) -> bool:
    """Whether it is a text with something in it that can be sent."""
    return isinstance(value, str) and bool(value.strip()) and _can_be_sent(value)


def _can_be_sent(value: object) -> bool:
    """Whether it is anything but a text with half a surrogate pair."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return False
    return True


def texts_in(value: object, depth: int = 0) -> Iterator[object]:
    """The values in an input's lists and objects, no deeper than the deepest input that is sent."""
    if isinstance(value, list | tuple | dict) and depth < DEPTH_LOOKED_AT:
        for each in (*value, *value.values()) if isinstance(value, dict) else value:
            yield from texts_in(each, depth + 1)
    else:
        yield value


def _is_http_url(value: object) -> bool:
    if not _is_text(value) or len(str(value)) > LONGEST_URL:
        return False
    try:
        parts = urlsplit(str(value))
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _is_number_that_travels(value: object) -> bool:
    """Whether every reader of JSON takes it for the same number; anything else than a number does."""
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or abs(value) < LARGEST_WHOLE


def _check_fields(given: object) -> None:
    is_named = isinstance(given, dict) and all(isinstance(key, str) for key in given)
    if given is not None and not is_named:
        raise RequestError(f"fields is {shown(given)}; allowed: a dict of your own data by name, or None")


def _check_price(usd: object) -> None:
    if usd is None:
        return
    is_number = isinstance(usd, int | float) and not isinstance(usd, bool)
    if not is_number or not 0 <= usd <= LARGEST_PRICE_USD:  # type: ignore[operator]  # a number, by the first half
        raise RequestError(f"max_price_usd is {shown(usd)}; allowed: dollars from 0 to {LARGEST_PRICE_USD:,.0f}")


@dataclass
class BatchRequest:
    """One generation to make.

    Args:
        prompt: the text; empty, or None, for a model that needs none.
        model_name: `owner/name`, from the catalogue.
        output_filepath: the file to write; None lets replibatch name it.
        kwargs: the model's other inputs; reference images as paths or URLs.
        request_id: given, it is an idempotency key: the same id is the same job. Otherwise one is made.
        fields: the caller's own data, as JSON has it; comes back with the result, and is never sent to the model.
        tags: words it is counted under.
        webhook: an http(s) address that is called with the result, at least once; a worker calls it.
        priority: `high`, `normal` or `low`, among jobs that wait; None for `normal`, or `low` in a batch.
        max_retries: tries of one model on passing faults; None leaves it to the batch, or the workers' setting.
        max_price_usd: the most that one prediction may cost; reserved where the model's price is unknown.
        within: the folder that the file must be in; no link below leads out. None for any place.
        local_files: whether inputs may name files of this machine.

    Raises:
        RequestError: a field of the wrong type, or a text that is empty or not Unicode.
    """

    prompt: str
    model_name: str
    output_filepath: str | None = None
    kwargs: dict[str, Any] | None = None
    request_id: str | None = None
    fields: dict[str, Any] | None = None
    tags: Sequence[str] = ()
    webhook: str | None = None
    priority: str | None = None
    max_retries: int | None = None
    max_price_usd: float | None = None
    within: str | None = field(default=None, kw_only=True, repr=False)
    local_files: bool = field(default=True, kw_only=True, repr=False)
    idempotent: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.idempotent = self.request_id is not None
        if isinstance(self.output_filepath, PathLike):
            self.output_filepath = fspath(self.output_filepath)
        if self.prompt is None:
            self.prompt = ""  # callers may have no type checker
        if self.prompt != "" and not _is_text(self.prompt):
            raise RequestError(f"prompt is {shown(self.prompt)}; allowed: a text that is not empty")
        if not _is_text(self.model_name):
            allowed = "a model's name, as in 'qwen/qwen-image'"
            raise RequestError(f"model_name is {shown(self.model_name)}; allowed: {allowed}")
        _check_price(self.max_price_usd)
        optional = {"output_filepath": self.output_filepath, "request_id": self.request_id}
        for name, text in optional.items():
            if text is not None and not _is_text(text):
                raise RequestError(f"{name} is {shown(text)}; allowed: a text that is not empty, or None")
        given: Any = {} if self.kwargs is None else self.kwargs
        if not isinstance(given, dict) or not all(isinstance(key, str) for key in given):
            raise RequestError(f"kwargs is {shown(given)}; allowed: a dict of the model's inputs by name")
        for name, value in given.items():
            if not all(_can_be_sent(text) for text in (name, *texts_in(value))):
                allowed = "Unicode text, without half a surrogate pair"
                raise RequestError(f"{shown(name)} is {shown(value)}; allowed: {allowed}")
            if not all(_is_number_that_travels(number) for number in texts_in(value)):
                raise RequestError(f"{shown(name)} is {shown(value)}; allowed: finite numbers of at most 20 digits")
        self._check_how()
        if isinstance(self.within, PathLike):
            self.within = fspath(self.within)
        _check_fields(self.fields)
        self.kwargs = dict(given)  # one dict may serve many requests, and change between them
        if self.request_id is None:
            self.request_id = new_id()

    def _check_how(self) -> None:
        """Check the options for how it is made, apart from the model's inputs."""
        if isinstance(self.tags, str) or not all(_is_text(tag) and len(tag) <= LONGEST_TAG for tag in self.tags):
            raise RequestError(f"tags is {self.tags!r}; expected: words of at most {LONGEST_TAG} characters each")
        self.tags = tuple(self.tags)
        if self.webhook is not None and not _is_http_url(self.webhook):
            raise RequestError(f"webhook is {self.webhook!r}; expected: an http:// or https:// address, or None")
        if self.priority not in (None, *PRIORITIES):
            raise RequestError(f"priority is {self.priority!r}; expected: 'high', 'normal', 'low' or None")
        retries = self.max_retries
        if retries is not None and (
            isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= 100
        ):
            raise RequestError(f"max_retries is {retries!r}; expected: a whole number from 0 to 100, or None")

    @classmethod
    def untrusted(
        cls,
        data: Mapping[str, Any],
        *,
        models: Collection[str],
        folder: str | PathLike[str] | None = None,
        namespace: str | None = None,
    ) -> Self:
        """A request of what a web user sent, such as a decoded JSON body.

        It names no file of this machine, no secret, no kept reference (`file:`); its output stays in the folder; its
        sizes are bounded.

        Args:
            data: `prompt`, `model_name`, `kwargs`, `output_filepath`, `request_id`; anything else is refused.
            models: the models that may be named.
            folder: where the file goes: no name in the request leads outside. None for a name that is made up.
            namespace: separates users, such as their id: the same `request_id` of two users is two jobs.

        Raises:
            RequestError: it is not what a web user may ask for; says what.
        """
        return cls(
            **arguments(data, models=models, folder=None if folder is None else fspath(folder), namespace=namespace)
        )


@dataclass(frozen=True)
class RoutedRequest:
    """A request as it travels: checked, routed, its seed fixed.

    Attributes:
        request_id: the caller's id for it.
        prompt: the text.
        asked_model: the model the caller named.
        model: the first model to try; another one than asked where routing had to switch.
        inputs: the model inputs besides prompt and reference images; JSON values only.
        references: reference images, each an `https:`/`data:` URL or `file:<sha256>.<extension>` in storage.
        output: where the file goes: an absolute path in embedded mode, a key under the storage in a fleet.
        fallback: whether another model may stand in.
        warnings: what routing changed or dropped, for people.
        max_retries: tries of one model on passing faults; None leaves it to the worker's setting.
        fields: the caller's own data, for the result.
        within: in embedded mode, the folder that no link leads out of; empty where the output may be anywhere.
        max_price_usd: the most that one prediction may cost; None for whatever its model costs.
        extension_is_free: whether the file's extension was made up, and follows what the model makes.
        tags: words it is counted under.
        webhook: called with the result; empty for none.
        asked: what an idempotency key stands for, as `identity` tells it; empty without one.
        metadata: the metadata written into its files; None leaves it to the worker's setting.
    """

    request_id: str
    prompt: str
    asked_model: str
    model: str
    inputs: dict[str, Any]
    references: tuple[str, ...]
    output: str
    fallback: bool = True
    warnings: tuple[str, ...] = ()
    max_retries: int | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    max_price_usd: float | None = None
    extension_is_free: bool = False
    tags: tuple[str, ...] = ()
    webhook: str = ""
    asked: str = ""
    within: str = ""
    metadata: str | None = None

    def unmade(self, state: State, error: str, attempts: tuple[Attempt, ...]) -> BatchResult:
        """Its result where nothing was made."""
        return BatchResult(
            request_id=self.request_id,
            prompt=self.prompt,
            model_name=self.asked_model,
            model_used=None,
            success=False,
            error=error,
            attempts=attempts,
            cost_usd=total_usd(attempts),
            state=state,
            fields=self.fields,
        )

    def to_json(self) -> dict[str, Any]:
        """A dict for JSON, without defaults."""
        lists = ("references", "warnings", "tags")
        data = {**vars(self), **{name: list(getattr(self, name)) for name in lists}}
        return {
            key: value
            for key, value in data.items()
            if value not in ([], {}, None) and not (key == "fallback" and value)
            if value or key not in ("extension_is_free", "within", "webhook", "asked")
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The opposite of `to_json`."""
        values = {"inputs": {}, **data}
        values["references"] = tuple(data.get("references", ()))
        values["warnings"] = tuple(data.get("warnings", ()))
        values["tags"] = tuple(data.get("tags", ()))
        return cls(**values)


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
    """

    model: str
    prediction_id: str | None
    outcome: str
    reason: str | None
    message: str | None
    seconds: float
    cost_usd: float | None


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
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def file_paths(self) -> list[str]:
        """The paths of `files`."""
        return [file.path for file in self.files]

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
        values = _known(cls, data)
        values["files"] = tuple(OutputFile(**_known(OutputFile, file)) for file in data["files"])
        values["attempts"] = tuple(Attempt(**_known(Attempt, attempt)) for attempt in data["attempts"])
        values["warnings"] = tuple(data["warnings"])
        values["state"] = State(data["state"])
        return cls(**values)


def _known(kind: type, data: dict[str, Any]) -> dict[str, Any]:
    """What a class has a field for: a result may be of a later version than its reader."""
    names = {each.name for each in fields(kind)}
    return {name: value for name, value in data.items() if name in names}
