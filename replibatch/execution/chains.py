"""The models of generations' chains, as they were when the generations were asked for."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from replibatch.catalog import Model
from replibatch.jobs import Batches, Record

BATCHES_KEPT = 256


class Chains:
    """One process's copies of them.

    Args:
        batches: they lie with the batch; a single job's, in its own record.
    """

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._of_batch = lru_cache(maxsize=BATCHES_KEPT)(self._read)

    def of(self, record: Record) -> dict[str, Model]:
        """The models that a generation may be made by, by name."""
        if not record.batch:
            return _parse(json.loads(record.catalog))
        models = self._of_batch(record.batch)
        if record.model not in models:  # a batch may gain some while it is appended to
            self._of_batch.cache_clear()
            models = self._of_batch(record.batch)
        return models

    def model_of(self, record: Record) -> Model:
        """That of the current attempt."""
        return self.of(record)[record.model]

    def _read(self, batch: str) -> dict[str, Model]:
        return _parse(self._batches.catalog(batch))


def _parse(catalog: dict[str, Any]) -> dict[str, Model]:
    return {name: Model.from_json(model) for name, model in catalog.items()}
