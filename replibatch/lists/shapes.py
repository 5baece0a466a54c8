"""Items that differ in nothing but their prompt are routed once."""

from __future__ import annotations

import copy
import hashlib
import json
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from replibatch import contents
from replibatch.catalog import Catalog
from replibatch.errors import RequestError
from replibatch.requests import BatchRequest
from replibatch.routing import Routed, located, route
from replibatch.routing.carry import SEED
from replibatch.routing.references import is_local
from replibatch.routing.route import SEED_BITS
from replibatch.routing.steps import RoutedStep, route_steps

REMEMBERED = 1024
LONGEST_KEY = 10_000  # characters of inputs that are remembered: data URIs are not
PROMPT = "-"  # of the request that stands for all with one


@dataclass(frozen=True, slots=True)
class Shape:
    """The common part of items with the same model and inputs.

    Attributes:
        routed: the model that takes them, and what it is given.
        digest: of all that is sent besides the prompt.
        seed_is_ours: each item has a seed of its own, which the list did not set.
        extension: of a file that is given no name, without its dot.
    """

    routed: Routed
    digest: bytes
    seed_is_ours: bool
    extension: str

    def for_item(self, *, extension_is_free: bool) -> Routed:
        """As an item is sent.

        Args:
            extension_is_free: whether the extension of its file was made up.
        """
        if not self.seed_is_ours:
            return replace(self.routed, extension_is_free=extension_is_free)
        inputs = {**self.routed.inputs, SEED: secrets.randbits(SEED_BITS)}
        return replace(self.routed, inputs=inputs, extension_is_free=extension_is_free)


class Shapes:
    """Routes models and inputs, and checks the files that they name.

    Args:
        catalog: the models.
        fallback: whether another model may stand in, before the call too.
    """

    def __init__(self, catalog: Catalog, *, fallback: bool) -> None:
        self._catalog = catalog
        self._fallback = fallback
        self._known: OrderedDict[tuple[str, str, bool, str], Shape | RequestError] = OrderedDict()
        self._hashes: dict[contents.Version, str] = {}

    def located(self, inputs: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """The inputs with the relative paths of their files made absolute.

        Args:
            inputs: as given.
            folder: where relative paths start.

        Raises:
            RequestError: one that takes files holds something else.
        """
        return located(inputs, self._catalog, folder)

    def of(self, model: str, inputs: Mapping[str, Any], extension: str, *, has_prompt: bool = True) -> Shape:
        """The shape of items.

        Args:
            model: asked for.
            inputs: located.
            extension: of the file's name; empty where that is left open.
            has_prompt: whether they have a text.

        Raises:
            RequestError: no model can take them.
        """
        known = model, extension, has_prompt, repr(inputs)
        shape = self._known.get(known)
        if shape is None:
            try:
                shape = self._routed(model, inputs, extension, PROMPT if has_prompt else "")
            except RequestError as error:
                shape = error
            if len(known[3]) <= LONGEST_KEY:
                self._known[known] = shape
                if len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
        if isinstance(shape, RequestError):
            raise shape
        return shape

    def steps_of(self, request: BatchRequest, shape: Shape, extension: str) -> list[RoutedStep]:
        """The steps after a request of this shape, with the models that take them; their files are looked at.

        Args:
            request: with its steps.
            shape: the first step's.
            extension: of the name of the item's file; empty where that is left open.

        Raises:
            RequestError: one cannot be done as asked.
        """
        if not request.steps:
            return []
        named = copy.copy(request)
        named.output_filepath = f"*.{extension}" if extension else None
        steps = route_steps(named, shape.routed.model, self._catalog, fallback=self._fallback)
        for step in steps:
            step.routed.check_files()
        return steps

    def _routed(self, model: str, inputs: Mapping[str, Any], extension: str, prompt: str) -> Shape:
        output = f"*.{extension}" if extension else None
        request = BatchRequest(prompt, model, output, dict(inputs))
        routed = route(request, self._catalog, fallback=self._fallback)
        routed.check_files()
        ours = SEED in routed.inputs and inputs.get("seed") is None
        return Shape(routed, self._digest(routed), ours, routed.model.extension(routed.inputs))

    def _digest(self, routed: Routed) -> bytes:
        local = set(routed.files)
        sent = {name: self._by_content(value, local) for name, value in sorted(routed.inputs.items()) if name != SEED}
        told = [routed.model.name, sent, self._by_content(routed.references, local)]
        return hashlib.sha256(json.dumps(told, default=str, sort_keys=True).encode()).digest()

    def _by_content(self, value: Any, local: set[str]) -> Any:
        """A value with the hash of each local file in the place of its path."""
        if isinstance(value, list):
            return [self._by_content(each, local) for each in value]
        if not isinstance(value, str) or value not in local or not is_local(value):
            return value
        version = contents.version(value)
        if version not in self._hashes:
            self._hashes[version] = contents.sha256(value)
        return self._hashes[version]
