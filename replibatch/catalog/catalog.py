"""The models to choose from: `catalog.toml`, with the user's own file laid over it.

The top of `catalog.toml` describes the format of both files.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from replibatch.catalog.inputs import InputSpec
from replibatch.catalog.models import Edge, Model
from replibatch.catalog.prices import Price
from replibatch.errors import SettingsError, UnsupportedModel

BUILT_IN = "catalog.toml"
USER_FILE = Path("replibatch.toml")
REFERENCE_IMAGES = "reference_images"
MODEL_NAME = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?|deployment:[\w.-]+/[\w.-]+")
PAGE = re.compile(r"(?:https?://)?(?:www\.)?replicate\.com/([\w.-]+/[\w.-]+)(?:[/?#].*)?")
LIKENESS = 0.6  # of names, as difflib measures it
PRICE_KEYS = ("price_usd", "price_unit", "prices", "input_token_usd", "amount_param", "most_units")
# What pydantic's words leave unclear to the writer of a TOML file.
UNION_MEMBERS = ("int", "float", "str")
WORDS = {
    "int_type": "an integer",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "frozen_set_type": "a list",
    "too_short": "at least one",
    "dict_type": "a table",
    "dataclass_type": "a table, or a name",
}

Tables = dict[str, Any]  # a catalogue file as TOML has it


@dataclass(frozen=True)
class Catalog:
    """The models to choose from.

    Attributes:
        models: by name, in the order of the files.
        one_reference: the model that takes a single reference image for an image model that takes none.
        several_references: the model that takes several.
        changes: what the user's file changes of the built-in prices and chains, a line each, for people.
    """

    models: Mapping[str, Model]
    one_reference: Model
    several_references: Model
    changes: tuple[str, ...] = ()

    def get(self, name: str) -> Model:
        """The model of that name.

        Raises:
            UnsupportedModel: naming the supported ones.
        """
        if name not in self.models:
            supported = ", ".join(self.models)
            raise UnsupportedModel(
                f"Model '{name}' is not supported. Please use one of the supported models: {supported}"
                f"{self._hint(name)}"
            )
        return self.models[name]

    def _hint(self, name: str) -> str:
        """What may have been meant by a name, and how any other model of Replicate's is added."""
        address = address_of(name)
        close = self._like(address)
        meant = f"; did you mean {close}?" if close else ""
        if address == close or not MODEL_NAME.fullmatch(address):
            return meant
        return f"{meant}; `replibatch models add {address}` adds it"

    def _like(self, name: str) -> str | None:
        """The model that a name most resembles: with its owner left out, or mistyped."""
        bare = name.rpartition("/")[2].partition(":")[0].lower()
        by_name = {known.rpartition("/")[2].lower(): known for known in self.models}
        if name in self.models or bare in by_name:
            return name if name in self.models else by_name[bare]
        close = get_close_matches(name, self.models, 1, LIKENESS)
        return close[0] if close else next((by_name[each] for each in get_close_matches(bare, by_name, 1)), None)

    def subset(self, name: str) -> dict[str, Model]:
        """Every model that a request for this one may end at, itself first: through routing and fallbacks."""
        first = self.get(name)
        found: dict[str, Model] = {}
        ahead = [first]
        if first.kind == "image":
            ahead += [self.one_reference, self.several_references]
        for model in ahead:  # grows as it goes
            if model.name not in found:
                found[model.name] = model
                ahead += [self.models[edge.model] for edge in model.fallback]
        return found


def address_of(name: str) -> str:
    """A model's name, where the address of its page was given."""
    page = PAGE.fullmatch(name.strip())
    return page[1] if page else name.strip()


def load(user_toml: Path | None = None, *, published: Callable[[str], Tables] = lambda _: {}) -> Catalog:
    """The built-in catalogue with the user's own laid over it.

    Args:
        user_toml: the user's file; None takes `replibatch.toml` in the working directory, if it is there.
        published: gives what a model of the user's own publishes itself, as a table, by its name, or by
            `name:version`; an empty one where that is not known.

    Raises:
        SettingsError: naming the file, the model, the key, the value found and the values allowed.
    """
    tables, source = _built_in(), BUILT_IN
    if user_toml is None and USER_FILE.is_file():
        user_toml = USER_FILE
    if user_toml is not None:
        source = str(user_toml)
        tables = _laid_over(tables, _read(user_toml), source, published)
    models = {name: _model(name, table, source) for name, table in tables.items() if name != REFERENCE_IMAGES}
    for model in models.values():
        _check_edges(model, models, source)
    takers = tables[REFERENCE_IMAGES]
    if unknown := takers.keys() - {"one", "several"}:
        raise SettingsError(f"{source}: {REFERENCE_IMAGES} has {min(unknown)!r}; allowed: one, several")
    one, several = (_taker(which, takers[which], models, source) for which in ("one", "several"))
    return Catalog(models, one, several, tuple(_changes(tables, source)))


def built_in_names() -> frozenset[str]:
    """The models of the built-in catalogue."""
    return frozenset(name for name in _built_in() if name != REFERENCE_IMAGES)


def built_in_models(user_toml: Path | None = None) -> dict[str, Model]:
    """The built-in models with the changes of the user's file, without its own models; edges are not followed.

    Args:
        user_toml: as for `load`.

    Raises:
        SettingsError: as `load`.
    """
    tables, source = _built_in(), BUILT_IN
    if user_toml is None and USER_FILE.is_file():
        user_toml = USER_FILE
    if user_toml is not None:
        source = str(user_toml)
        changed = {name: table for name, table in _read(user_toml).items() if name in tables}
        tables = _laid_over(tables, changed, source, lambda _: {})
    return {name: _model(name, tables[name], source) for name in built_in_names()}


@cache
def _built_in() -> Tables:
    return tomllib.loads(resources.files("replibatch.catalog").joinpath(BUILT_IN).read_text("utf-8"))


def _read(path: Path) -> Tables:
    """The user's file as TOML has it."""
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f'{path}: not TOML ({error}); a model\'s name goes in quotes: ["owner/name"]') from None


def _laid_over(base: Tables, user: Tables, source: str, published: Callable[[str], Tables]) -> Tables:
    """The built-in tables with the user's laid over them; `base` stays as it is."""
    laid = dict(base)
    for name, table in user.items():
        if not isinstance(table, dict) or not (MODEL_NAME.fullmatch(name) or name == REFERENCE_IMAGES):
            raise SettingsError(
                f'{source}: {name!r} is no model; allowed: tables named ["owner/name"], and [{REFERENCE_IMAGES}]'
            )
        below = base.get(name) or _own(name, table, published)
        laid[name] = {**below, **table}
        if isinstance(table.get("inputs"), dict):
            laid[name]["inputs"] = _inputs_laid_over(below.get("inputs", {}), table["inputs"])
    return laid


def _own(name: str, table: Tables, published: Callable[[str], Tables]) -> Tables:
    """What lies under the user's table of a model of their own: what it publishes, or that this is not known."""
    version = table.get("version")
    below = published(f"{name}:{version}" if isinstance(version, str) and ":" not in name else name)
    return {"kind": "file", "inputs_known": False, "inputs": {"prompt": "string"}, **below}


def _changes(tables: Tables, source: str) -> Iterator[str]:
    """What differs from the built-in prices and chains."""
    for name, before in _built_in().items():
        now = tables[name]
        if now is before:
            continue
        if any(now.get(key) != before.get(key) for key in PRICE_KEYS):
            yield f"{source} changes the price of {name} from {_price(before)} to {_price(now)}"
        if now.get("fallback") != before.get("fallback"):
            yield f"{source} changes the fallback of {name}"
        if name == REFERENCE_IMAGES:
            yield f"{source} changes who takes reference images"


def _price(table: Tables) -> str:
    """A table's price in words."""
    unit = table.get("price_unit", "call")
    usd = (
        "prices by inputs" if table.get("prices") else f"${table['price_usd']:g}" if "price_usd" in table else "none"
    )
    return f"{usd} for a{'n' if unit == 'image' else ''} {unit}"


def _inputs_laid_over(base: Tables, user: Tables) -> Tables:
    laid = dict(base)
    for name, spec in user.items():
        below = base.get(name)
        if spec is False:
            laid.pop(name, None)
        elif below is not None and isinstance(spec, dict):
            laid[name] = {**({"type": below} if isinstance(below, str) else below), **spec}
        else:
            laid[name] = spec
    return laid


def _model(name: str, table: Tables, source: str) -> Model:
    if "name" in table:
        raise SettingsError(f"{source}: {name}: unknown key 'name'; a model is named by its table")
    reference_max = {"reference_max": 1} if "reference_param" in table else {}
    try:
        return Model.from_json({"inputs": {}, **reference_max, **table, "name": name})
    except ValidationError as error:
        raise SettingsError(f"{source}: {name}: {_one_line(error)}") from None


def _check_edges(model: Model, models: Mapping[str, Model], source: str) -> None:
    for edge in model.fallback:
        if edge.model not in models:
            raise SettingsError(
                f"{source}: {model.name}: fallback to {edge.model!r}, which is no model; allowed: {', '.join(models)}"
            )
        if (kind := models[edge.model].kind) != model.kind:
            found = f"fallback to {edge.model!r}, which makes {kind}"
            raise SettingsError(f"{source}: {model.name}: {found}; allowed: {model.kind} models")


def _taker(which: str, name: Any, models: Mapping[str, Model], source: str) -> Model:
    """The model that takes `one` or `several` reference images for those that do not."""
    least = 1 if which == "one" else 2
    able = [model.name for model in models.values() if model.kind == "image" and model.reference_max >= least]
    if name not in able:
        raise SettingsError(f"{source}: {REFERENCE_IMAGES}.{which} is {name!r}; allowed: {', '.join(able) or 'none'}")
    return models[name]


def _one_line(error: ValidationError) -> str:
    """The first mistake in one line: the key, the value found, the values allowed."""
    problems = error.errors(include_url=False)
    problem = next((each for each in problems if each["type"] == "unexpected_keyword_argument"), problems[0])
    loc = [str(part) for part in problem["loc"]]
    if loc and loc[-1] in UNION_MEMBERS:
        loc.pop()
    path, words = ".".join(loc), problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    match problem["type"]:
        case "unexpected_keyword_argument":
            kind = {"inputs": InputSpec, "fallback": Edge, "prices": Price}.get(loc[0], Model)
            keys = ", ".join(each.name for each in fields(kind) if each.name != "name")
            return f"unknown key {path!r}; allowed: {keys}"
        case "missing":
            return f"{path} is missing"
        case "value_error":
            return f"{path}: {words}" if path else words
    return f"{path} is {problem['input']!r}; allowed: {WORDS.get(problem['type'], words)}"
