"""What a run is about: the items of a list, checked, each with the key by which a later run knows it again."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter, defaultdict, deque
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from replibatch import contents, lists
from replibatch.catalog import Catalog
from replibatch.catalog.prices import likely_usd
from replibatch.cli.run.folder import OutputFolder
from replibatch.errors import RequestError
from replibatch.lists import ManifestLine
from replibatch.lists.disk_map import DiskMap
from replibatch.producer.published_inputs import load_catalog
from replibatch.requests import BatchRequest
from replibatch.routing import Routed, located, route
from replibatch.settings import Settings
from replibatch.storage.names import made_up_name

KEY_BYTES = 16


@dataclass(frozen=True)
class Item:
    """One item to be made.

    Attributes:
        index: its place in the list, from 0.
        key: by which another run of the same list into the same folder knows it again.
        request: with the name of its file decided.
        routed: with the model that will take it.
    """

    index: int
    key: bytes
    request: BatchRequest
    routed: Routed

    @property
    def id(self) -> str:
        """The generation's: the same key is the same job."""
        return f"r{self.key.hex()}"

    @staticmethod
    def key_of(generation_id: str) -> bytes:
        """The key of the item that a generation is of."""
        return bytes.fromhex(generation_id[1:])


@dataclass
class Survey:
    """What there is to make, counted.

    Attributes:
        count: items to be made.
        made: items of the list that an earlier run has made.
        by_model: items by the model that is tried first.
        cost_usd: if every item's first attempt succeeds.
        unpriced: items of models without a price, which are not in it.
        work_seconds: of all predictions together, by what their models usually take.
        longest_seconds: of the slowest.
    """

    count: int = 0
    made: int = 0
    by_model: Counter[str] = field(default_factory=Counter)
    cost_by_model: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    cost_usd: float = 0.0
    unpriced: int = 0
    work_seconds: float = 0.0
    longest_seconds: float = 0.0

    def add(self, item: Item) -> None:
        """Count an item to be made."""
        model = item.routed.model
        cost_usd = likely_usd(model, item.routed.inputs)
        if cost_usd is None:
            self.unpriced += 1
            cost_usd = 0.0
        self.count += 1
        self.by_model[model.name] += 1
        self.cost_by_model[model.name] += cost_usd
        self.cost_usd += cost_usd
        self.work_seconds += model.typical_seconds
        self.longest_seconds = max(self.longest_seconds, model.typical_seconds)

    def seconds(self, *, at_once: int, free_now: int, per_window: int, window_seconds: float) -> float:
        """How long it takes, by the limits.

        Args:
            at_once: predictions in flight at a time.
            free_now: creates that the window has left.
            per_window: creates a window.
            window_seconds: its length.
        """
        windows = max(0, -(-(self.count - free_now) // per_window))
        return max(
            self.work_seconds / max(1, min(at_once, self.count)), windows * window_seconds + self.longest_seconds
        )


@dataclass(frozen=True)
class Plan:
    """A list of prompts, to be made into a folder.

    Args:
        source: the list; a file that can be read twice.
        model: for lines that name none.
        inputs: model inputs for lines that do not set them; paths relative to the working directory.
        folder: where the files go.
        catalog: the models.
    """

    source: Any
    model: str | None
    inputs: Mapping[str, Any]
    folder: OutputFolder
    catalog: Catalog

    def survey(self, made: Container[bytes]) -> Survey:
        """Check the whole list and count what is to be made.

        Args:
            made: keys of the items that are made already.

        Raises:
            ManifestError: with every mistake by its line.
            RequestError: there is nothing in it, or it cannot be read.
        """
        survey = Survey()
        for item in self.items():
            if item.key in made:
                survey.made += 1
            else:
                survey.add(item)
        if not survey.count + survey.made:
            raise RequestError("there is no prompt in the list")
        return survey

    def items(self) -> Iterator[Item]:
        """The items in order, as a stream; malformed lines are left out, and raised together at the end."""
        items: deque[Item] = deque(maxlen=1)
        indexes = itertools.count()
        defaults = located(self.inputs, self.catalog, Path.cwd())
        with DiskMap() as times_seen:

            def check(line: ManifestLine) -> None:
                items.append(self._item(line, next(indexes), times_seen))

            for _ in lists.read(self.source, default_model=self.model, defaults=defaults, check=check):
                yield items[0]

    def _item(self, line: ManifestLine, index: int, times_seen: DiskMap) -> Item:
        """The item of a line.

        Raises:
            RequestError: it cannot be done as asked.
        """
        asked = line.request
        inputs = located(asked.kwargs or {}, self.catalog, line.folder)
        routed = route(replace(asked, kwargs=inputs), self.catalog)
        routed.check_files()
        routed = replace(routed, extension_is_free=asked.output_filepath is None)
        same = _key(self.folder.identity, line.id, asked, inputs, routed)
        key = hashlib.sha256(same + times_seen.count(same).to_bytes(8, "big")).digest()[:KEY_BYTES]
        name = asked.output_filepath or made_up_name(
            index, asked.prompt, key.hex()[:8], routed.model.extension(routed.inputs)
        )
        output = self.folder.asked_at(name)
        request = replace(asked, kwargs=inputs, output_filepath=output, request_id=line.id or f"r{key.hex()}")
        return Item(index, key, request, routed)


def name_of(file: str) -> str:
    """What a list is called."""
    return "standard input" if file == "-" else Path(file).name


@contextmanager
def planned_for(
    settings: Settings, file: str, *, model: str | None, output: Path, inputs: tuple[str, ...]
) -> Iterator[Plan]:
    """The plan that the arguments of `run` and `submit` describe, as long as its list can be read.

    Raises:
        RequestError, SettingsError: an argument is malformed.
    """
    models = load_catalog(settings)
    if model is not None:
        models.get(model)
    given = lists.parse_inputs(inputs)
    with lists.rereadable(file) as source:
        yield Plan(source, model, given, OutputFolder(output, settings), models)


def _key(folder: str, line_id: str | None, asked: BatchRequest, inputs: Mapping[str, Any], routed: Routed) -> bytes:
    """What makes a line the same line in another run: all that was asked, and the content of its images."""
    told = [
        folder,
        line_id or "",
        asked.model_name,
        asked.prompt,
        sorted(inputs.items()),
        asked.output_filepath or "",
        [_content_hash(contents.version(path)) for path in routed.files],
    ]
    return hashlib.sha256(json.dumps(told, default=str).encode()).digest()[:KEY_BYTES]


@lru_cache(maxsize=4096)
def _content_hash(version: contents.Version) -> str:
    return contents.sha256(version[0])
