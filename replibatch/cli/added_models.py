"""Models of Replicate's found, added to the user's own catalogue file, and held against the account."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from replibatch import catalog
from replibatch.catalog import Model, address_of
from replibatch.catalog.catalog import MODEL_NAME, load
from replibatch.catalog.description import table_for, to_toml, without
from replibatch.catalog.published import Published
from replibatch.errors import ModelMissing, RequestError, SettingsError
from replibatch.producer.published_inputs import known, load_catalog, read, store_for, user_file
from replibatch.replicate_api.asking import asking
from replibatch.settings import Settings
from replibatch.settings import load as load_settings
from replibatch.storage.atomic import staged


class Compared(NamedTuple):
    """One model of the catalogue, held against what it publishes.

    Attributes:
        name: the model's.
        is_gone: whether Replicate has no such model any more.
        findings: what differs, a phrase each.
    """

    name: str
    is_gone: bool
    findings: list[str]


def found(name: str) -> tuple[Model, bool]:
    """A model by its name or the address of its page, and whether it is in the catalogue.

    Raises:
        UnsupportedModel: it is not, and could not be read.
    """
    settings = load_settings()
    models = load_catalog(settings)
    address = address_of(name)
    if address in models.models:
        return models.models[address], True
    published = None
    if MODEL_NAME.fullmatch(address) and settings.replicate_api_token is not None:
        try:
            published = known(address, settings, store_for(settings))
        except ModelMissing:
            published = None
    if published is None:
        models.get(name)  # says so
    assert published is not None  # noqa: S101  # for mypy
    table = published.table() | table_for(published, {})
    inputs = published.table().get("inputs", {})
    return Model.from_json({"inputs": {}, "inputs_known": False, **table, "name": address, **_with(inputs)}), False


def add(name: str, given: dict[str, Any], *, replace: bool) -> tuple[Model, Path]:
    """Write a model's table into the user's catalogue file; returns it as it is then, and the file.

    Args:
        name: `owner/name`, `owner/name:version`, `deployment:owner/name`, or the address of its page.
        given: keys of the table that the user gave.
        replace: whether a table that is there is written anew.

    Raises:
        SettingsError: there is no token, the table is there already, or the file would not be a catalogue any more.
        ModelMissing: Replicate has no such model.
    """
    settings = load_settings()
    address, path = address_of(name), user_file(settings)
    if not MODEL_NAME.fullmatch(address):
        allowed = "owner/name, owner/name:version, deployment:owner/name, or the address of the model's page"
        raise RequestError(f"the model is {name!r}; allowed: {allowed}")
    before = path.read_text("utf-8-sig") if path.is_file() else ""
    there = address in load(path).models if before else address in catalog.built_in_names()
    if there and not replace:
        raise SettingsError(f"{address} is in the catalogue already; --replace writes its table in {path} anew")
    published = read(address, settings)
    table = to_toml(address, table_for(published, given))
    kept = without(before, address).rstrip()
    _write_checked(path, f"{kept}\n\n{table}" if kept else table, published, settings)
    store_for(settings).put(published)
    return load_catalog(settings.model_copy(update={"catalog": path})).get(address), path


def compared() -> Iterator[Compared]:
    """Every model of the catalogue, held against what it publishes now, which is kept.

    Raises:
        SettingsError: there is no token.
    """
    settings = load_settings()
    store = store_for(settings)
    with asking(settings) as api:
        for model in load_catalog(settings).models.values():
            try:
                published = api.published(model.name)
            except ModelMissing as missing:
                yield Compared(model.name, True, [str(missing)])
                continue
            if model.version is None:  # what a model is pinned to stays as it was read
                store.put(published)
            yield Compared(model.name, False, list(_differences(model, published)))


def _differences(model: Model, published: Published) -> Iterator[str]:
    if model.version and published.version and model.version != published.version:
        yield f"has a new version, {published.version}; `replibatch models add {model.name} --replace` pins it"
    if model.version is None and published.is_official is False:
        yield f"is not official: it runs by its version alone; `replibatch models add {model.name} --replace` pins it"
    if published.inputs is None:
        yield published.problem or "publishes no schema"
        return
    if not model.inputs_known:
        return
    before, now = set(model.inputs), set(published.inputs)
    if more := now - before:
        yield f"takes also {', '.join(sorted(more))}"
    if fewer := before - now:
        yield f"does not take {', '.join(sorted(fewer))}"
    for name in sorted(before & now):
        enum, published_enum = model.inputs[name].enum, published.inputs[name].get("enum")
        if enum and published_enum and set(map(str, enum)) != set(map(str, published_enum)):
            yield f"{name} may be {', '.join(map(str, published_enum))}"


def _write_checked(path: Path, text: str, published: Published, settings: Settings) -> None:
    """Write the file, where it is a catalogue with the new table in it.

    Raises:
        SettingsError: it would be none.
    """
    store = store_for(settings)

    def table_of(address: str) -> dict[str, Any]:
        one = published if address == published.address else store.get(address)
        return one.table() if one else {}

    path.parent.mkdir(parents=True, exist_ok=True)
    with staged(path) as stage:
        stage.path.write_text(text, "utf-8")
        try:
            load(stage.path, published=table_of)
        except SettingsError as error:
            raise SettingsError(str(error).replace(str(stage.path), str(path))) from None
        stage.commit()


def _with(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"inputs": inputs} if inputs else {}
