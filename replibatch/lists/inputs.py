"""The names of model inputs that a list and its options may use."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from replibatch.catalog import Catalog, Model
from replibatch.errors import RequestError
from replibatch.lists.words import OWN
from replibatch.routing import REFERENCE_NAMES
from replibatch.routing.near import nearest, plain

# An earlier result's `image_url` is a result, not a reference image: such a column has to be named with --map.
UNSURE_REFERENCES = {"image_url", "image_urls"}


class Inputs:
    """The names of model inputs that a run may use.

    Args:
        models: those of this run.
        catalog: every model.
    """

    def __init__(self, models: Iterable[Model], catalog: Catalog) -> None:
        self.models = list(models)
        self._catalog = catalog

    @property
    def are_open(self) -> bool:
        """Whether a model of this run has inputs that are not known: it is sent any."""
        return any(not model.inputs_known for model in self.models)

    @cached_property
    def _of_run(self) -> dict[str, str]:
        return _by_plain_name(self.models)

    @cached_property
    def _of_others(self) -> dict[str, str]:
        return _by_plain_name(self._catalog.models.values())

    @cached_property
    def references(self) -> dict[str, str]:
        """What a reference image may be called, by its plain name."""
        own = {model.reference_param for model in self._catalog.models.values() if model.reference_param}
        return {plain(name): name for name in sorted((REFERENCE_NAMES | own) - UNSURE_REFERENCES)}

    def named(self, name: str) -> str | None:
        """The input of a model of this run, or the reference image, that a name means."""
        return self._of_run.get(plain(name)) or self.references.get(plain(name))

    def of_another(self, name: str) -> str | None:
        """The input that a name means of a model that is not of this run."""
        return self._of_others.get(plain(name))

    def near(self, name: str) -> str | None:
        """The input of a model of this run, or the reference image, that a name nearly is."""
        return nearest(name, [*self._of_run.values(), *self.references.values()])

    def option(self, option: str, name: str, *, given: str) -> str:
        """The input that an option means.

        Args:
            option: `-i` or `--vary`.
            name: as it was typed.
            given: the whole option, for people.

        Raises:
            RequestError: no model of this run has it.
        """
        if plain(name) in OWN:
            raise RequestError(f"{option} {given!r}; {name!r} is no input of a model")
        found = self.named(name) or (name if name in UNSURE_REFERENCES else None)
        if found:
            return found
        if self.are_open:
            return name
        near = self.near(name)
        hint = f" (did you mean {near!r}?)" if near else ""
        names = ", ".join(model.name for model in self.models)
        known = ", ".join(sorted(set(self._of_run.values()) - {"prompt"}))
        raise RequestError(f"{option} {given!r}: {names} has no input {name!r}{hint}; expected: {known}")


def _by_plain_name(models: Iterable[Model]) -> dict[str, str]:
    found: dict[str, str] = {}
    for model in models:
        for spec in model.inputs.values():
            for name in (spec.name, *spec.also):
                if name != "prompt":
                    found.setdefault(plain(name), spec.name)
        if model.name and plain("seed") not in found and model.seed_param:
            found["seed"] = "seed"
    return found
