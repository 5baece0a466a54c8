"""Models outside the built-in catalogue with the inputs they publish themselves.

A user's TOML then need not list them; what it does list is laid over what the model publishes. Asked for by a
process that has the token, and kept for a day in the state folder; without a token or an answer, an older answer
holds, or the TOML alone.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from replibatch import catalog
from replibatch.catalog import Catalog, InputSpec
from replibatch.errors import ReplibatchError
from replibatch.settings import Settings
from replibatch.storage.atomic import staged

FRESH_SECONDS = 24 * 3600
SCALARS = ("string", "integer", "number", "boolean")

Schema = dict[str, Any]


def load_catalog(settings: Settings) -> Catalog:
    """The models as this process's settings have them, those of the user's own with the inputs they publish.

    Raises:
        SettingsError: the user's file is malformed.
    """
    return catalog.load(settings.catalog, published=lambda name: _inputs_of(name, settings))


def inputs_from(schema: Schema) -> dict[str, Any]:
    """The inputs of a model by its OpenAPI document, as tables of a catalogue file; other types are left out."""
    schemas = schema.get("components", {}).get("schemas", {})
    form = schemas.get("Input", {})
    tables = {name: _table(each, schemas) for name, each in form.get("properties", {}).items()}
    for name in form.get("required", ()):
        if table := tables.get(name):
            table["required"] = True
    return {name: fitting for name, table in tables.items() if table and (fitting := _fitting(name, table))}


def _table(schema: Schema, schemas: Schema) -> dict[str, Any] | None:
    """One input as a table; None where its type is none of ours."""
    resolved = _resolved(schema, schemas)
    kind = resolved.get("type")
    if kind == "string" and resolved.get("format") == "uri":
        kind = "uri"
    table = {"type": kind} | {
        key: resolved[key] for key in ("enum", "minimum", "maximum", "default") if resolved.get(key) is not None
    }
    if kind == "array":
        items = _resolved(resolved.get("items", {}), schemas)
        table["items"] = "uri" if items.get("format") == "uri" else items.get("type", "string")
    return table if kind in ("uri", "array", *SCALARS) else None


def _resolved(schema: Schema, schemas: Schema) -> Schema:
    """A schema with what it refers to, as enumerations and optional inputs do, laid under it."""
    below: Schema = {}
    for part in [*schema.get("allOf", ()), *schema.get("anyOf", ()), schema]:
        if part.get("type") != "null":
            name = str(part.get("$ref", "")).rpartition("/")[2]
            below |= schemas.get(name, {}) | part
    return below


def _fitting(name: str, table: dict[str, Any]) -> dict[str, Any] | None:
    """The table if it makes an input; without its default where that is none of the values allowed."""
    for candidate in (table, {key: value for key, value in table.items() if key != "default"}):
        try:
            InputSpec(name=name, **candidate)
        except (ValidationError, ReplibatchError):
            continue
        return candidate
    return None


def _inputs_of(name: str, settings: Settings) -> dict[str, Any]:
    """What a model publishes, as far as it can be found out."""
    server = quote(settings.replicate_base_url, safe="")
    kept = settings.state_dir / "schemas" / server / f"{quote(name, safe='')}.json"
    if _age_seconds(kept) > FRESH_SECONDS and settings.replicate_api_token is not None:
        try:
            schema = _asked(name, settings)
            with staged(kept) as stage:
                stage.path.write_text(json.dumps(inputs_from(schema)))
                stage.commit()
        except (ReplibatchError, OSError):
            pass  # an older answer may be there
    try:
        found: dict[str, Any] = json.loads(kept.read_text())
    except (OSError, ValueError):
        return {}
    return found


def _asked(name: str, settings: Settings) -> Schema:
    from replibatch.replicate_api import ReplicateAPI  # noqa: PLC0415  # heavy, and asked once a day

    assert settings.replicate_api_token is not None  # noqa: S101  # for mypy
    api = ReplicateAPI(
        settings.replicate_base_url,
        settings.replicate_api_token,
        await_read=lambda: None,
        settle_seconds=settings.settle_seconds,
    )
    try:
        return api.schema(name)
    finally:
        api.close()


def _age_seconds(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")
