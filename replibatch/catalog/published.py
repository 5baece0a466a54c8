"""What models publish of themselves, kept once it was read: processes without a token then know it too.

A fleet keeps it in Redis, embedded mode in the state folder. Each has the version it is of and the time it was read.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self
from urllib.parse import quote, urlsplit

from redis import Redis
from redis.exceptions import RedisError

from replibatch.catalog.prices import LONGEST_SECONDS
from replibatch.catalog.schemas import MalformedSchema, Table, inputs_from, output_from
from replibatch.file_formats import extension_of
from replibatch.redisdb import keys

FRESH_SECONDS = 24 * 3600
DESCRIPTION_CHARACTERS = 500
EXAMPLE_CHARACTERS = 20_000
ADDRESS = re.compile(r"https?://[^\"\\\s]+")


@dataclass(frozen=True)
class Published:
    """What one model publishes.

    Attributes:
        address: what was asked for: `owner/name`, `owner/name:version` or `deployment:owner/name`.
        version: the id of that version, or of the latest; None where there is none.
        is_official: whether it runs by its name alone; None where that was not said.
        read_at: when it was read, seconds since the epoch.
        inputs: tables of a catalogue file, by name; None where no schema was to be had.
        output: `output` and `output_files`, as a catalogue file has them.
        description: in the words of its maker.
        example: the files of its published example, by their extensions, and how long that took.
        problem: why there are no inputs.
    """

    address: str
    version: str | None = None
    is_official: bool | None = None
    read_at: float = 0.0
    inputs: dict[str, Table] | None = None
    output: Table = field(default_factory=dict)
    description: str = ""
    example: Table = field(default_factory=dict)
    problem: str = ""

    @classmethod
    def of(cls, address: str, model: Mapping[str, Any], version: Any) -> Self:
        """As the API answers it.

        Args:
            address: what was asked for.
            model: the answer about the model; empty where only a version was asked for.
            version: the version in it, or the answer about the version; null where it has none.
        """
        version = version if isinstance(version, Mapping) else {}
        inputs, output, problem = None, {}, ""
        try:
            inputs = inputs_from(version.get("openapi_schema"))
            output = output_from(version.get("openapi_schema"))
        except MalformedSchema as error:
            problem = f"its schema could not be read: {error}"
        except RecursionError:
            problem = "its schema could not be read: it is nested too deep"
        official, version_id = model.get("is_official"), version.get("id")
        return cls(
            address,
            version=version_id if isinstance(version_id, str) else None,
            is_official=official if isinstance(official, bool) else None,
            read_at=time.time(),
            inputs=inputs,
            output=output,
            description=str(model.get("description") or "")[:DESCRIPTION_CHARACTERS],
            example=_example_of(model.get("default_example")),
            problem=problem,
        )

    @property
    def is_fresh(self) -> bool:
        """Whether it need not be asked for again: a version never changes, and a pinned one is not to move."""
        if self.inputs is None:
            return False
        pinned = self.is_official is False or ":" in self.address
        return pinned or 0 <= time.time() - self.read_at < FRESH_SECONDS

    def table(self) -> Table:
        """The model's table of a catalogue file, as far as it is published."""
        known = {"inputs": self.inputs, "inputs_known": True, **self.output} if self.inputs is not None else {}
        pinned = {"version": self.version} if self.is_official is False and self.version else {}
        return known | (pinned if ":" not in self.address else {})

    def to_json(self) -> str:
        """As it is kept."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self | None:
        """The opposite of `to_json`; None for any other text."""
        try:
            data = json.loads(text)
            return cls(**data) if isinstance(data["address"], str) and isinstance(data["output"], dict) else None
        except (ValueError, TypeError, KeyError, RecursionError):
            return None


def _example_of(example: Any) -> Table:
    """What a model's own example tells: the extensions of what it made, and the seconds it took."""
    if not isinstance(example, Mapping):
        return {}
    addresses = ADDRESS.findall(json.dumps(example.get("output"))[:EXAMPLE_CHARACTERS])
    extensions = list(dict.fromkeys(extension_of(urlsplit(address).path) for address in addresses))
    found: Table = {"extensions": [each for each in extensions if each]} if extensions else {}
    metrics = example.get("metrics")
    seconds = metrics.get("predict_time") if isinstance(metrics, Mapping) else None
    if isinstance(seconds, int | float) and 0 < seconds < LONGEST_SECONDS:
        found["seconds"] = round(float(seconds), 1)
    return found


class PublishedStore(Protocol):
    """Keeps what was read. Reading and keeping never fail: what cannot be kept is asked for again."""

    def get(self, address: str) -> Published | None:
        """The kept description; None where there is none."""

    def put(self, published: Published) -> None:
        """Keep it."""


class InRedis:
    """The fleet's: one hash of the account.

    Args:
        redis: the fleet's.
        prefix: the account's.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._key = keys.PUBLISHED.at(prefix)

    def get(self, address: str) -> Published | None:
        """As `PublishedStore.get`."""
        with suppress(RedisError):
            text = self._redis.hget(self._key, address)
            return Published.from_json(str(text)) if text else None
        return None

    def put(self, published: Published) -> None:
        """As `PublishedStore.put`."""
        with suppress(RedisError):
            self._redis.hset(self._key, published.address, published.to_json())


class InFolder:
    """Embedded mode's: a file each.

    Args:
        folder: for it alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, address: str) -> Published | None:
        """As `PublishedStore.get`."""
        try:
            return Published.from_json(self._path(address).read_text("utf-8"))
        except (OSError, UnicodeDecodeError):
            return None

    def put(self, published: Published) -> None:
        """As `PublishedStore.put`; the file is there whole or not at all."""
        path = self._path(published.address)
        beside = path.with_name(f".{secrets.token_hex(8)}")
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(published.to_json(), "utf-8")
            os.replace(beside, path)  # noqa: PTH105  # the same
        with suppress(OSError):
            beside.unlink(missing_ok=True)

    def _path(self, address: str) -> Path:
        return self._folder / f"{quote(address, safe='')}.json"


def folder_for(state_dir: Path, base_url: str) -> Path:
    """Where embedded mode keeps what the models of a server publish."""
    return state_dir / "schemas" / quote(base_url, safe="")
