"""What a model publishes about itself, as OpenAPI: its inputs and its output, as tables of a catalogue file.

Written by others: whatever is malformed or odd harms the input it is of, which then takes any JSON value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from replibatch.catalog.inputs import InputSpec
from replibatch.errors import ReplibatchError

SCALARS = ("string", "integer", "number", "boolean", "object")
KEYS = ("enum", "minimum", "maximum", "default")
MOST_REFERENCES = 8  # followed from one schema to the next
MOST_INPUTS = 500

Schema = Mapping[str, Any]
Table = dict[str, Any]


class MalformedSchema(ValueError):
    """A schema that is none; the message says what was found."""


def inputs_from(document: Any) -> dict[str, Table]:
    """The inputs of a model by its OpenAPI document, as tables of a catalogue file.

    Raises:
        MalformedSchema: it describes no inputs.
    """
    schemas = _schemas_of(document)
    form = _resolved(schemas.get("Input"), schemas)
    properties = form.get("properties", {})
    if not isinstance(properties, Mapping) or len(properties) > MOST_INPUTS:
        raise MalformedSchema("its inputs are no object of at most 500")
    required = form.get("required")
    tables: dict[str, Table] = {}
    for name, schema in properties.items():
        table = _fitting(str(name), _table(schema, schemas))
        if isinstance(required, list) and name in required:
            table["required"] = True
        tables[str(name)] = table
    return tables


def output_from(document: Any) -> Table:
    """What a model's output is by its OpenAPI document: `output` and `output_files`, as far as it says.

    Raises:
        MalformedSchema: the document is none.
    """
    schemas = _schemas_of(document)
    schema = _resolved(schemas.get("Output"), schemas)
    if _is_file(schema):
        return {"output": "uri"}
    if schema.get("type") == "string":
        return {"output": "text"}
    if schema.get("type") == "array":
        items = _resolved(schema.get("items"), schemas)
        if _is_file(items):
            return {"output": "array<uri>"}
        if items.get("type") == "string":
            streamed = schema.get("x-cog-array-type") == "iterator" or "concatenate" in str(
                schema.get("x-cog-array-display")
            )
            return {"output": "text" if streamed else "array<text>"}
    if _is_described(schema, schemas):
        files = _files_in(schema, schemas, "", 0)
        return {"output": "json"} | ({"output_files": files} if files else {})
    return {}


def _is_described(schema: Schema, schemas: Schema, depth: int = 0) -> bool:
    """Whether a schema names an output's contents: an object that names nothing may hold files anywhere."""
    if depth > MOST_REFERENCES:
        return False
    if schema.get("type") == "array":
        return _is_described(_resolved(schema.get("items"), schemas), schemas, depth + 1)
    return bool(schema.get("properties")) if schema.get("type") == "object" else schema.get("type") in SCALARS


def _schemas_of(document: Any) -> Schema:
    components = document.get("components") if isinstance(document, Mapping) else None
    schemas = components.get("schemas") if isinstance(components, Mapping) else None
    if not isinstance(schemas, Mapping) or not isinstance(schemas.get("Input"), Mapping):
        raise MalformedSchema("it has no schema of its inputs")
    return schemas


def _resolved(schema: Any, schemas: Schema, depth: int = 0) -> Table:
    """A schema with what it refers to laid under it: references, `allOf`, and the one alternative beside null."""
    if not isinstance(schema, Mapping) or depth > MOST_REFERENCES:
        return {}
    below: Table = {}
    if isinstance(reference := schema.get("$ref"), str):
        below |= _resolved(schemas.get(reference.rpartition("/")[2]), schemas, depth + 1)
    for part in _list_of(schema.get("allOf")):
        below |= _resolved(part, schemas, depth + 1)
    alternatives = _alternatives(schema, schemas)
    if len(alternatives) == 1:
        below |= _resolved(alternatives[0], schemas, depth + 1)
    found = below | dict(schema)
    kinds = found.get("type")
    if isinstance(kinds, list):
        named = [kind for kind in kinds if kind != "null"]
        found |= {"type": named[0]} if len(named) == 1 else {"type": None, "types": named}
        found["nullable"] = "null" in kinds
    if _has_null(schema):
        found["nullable"] = True
    return found


def _alternatives(schema: Schema, schemas: Schema) -> list[Any]:
    """Those of `anyOf` and `oneOf`, without null."""
    every = [*_list_of(schema.get("anyOf")), *_list_of(schema.get("oneOf"))]
    return [each for each in every if isinstance(each, Mapping) and _resolved(each, schemas, 1).get("type") != "null"]


def _has_null(schema: Schema) -> bool:
    every = [*_list_of(schema.get("anyOf")), *_list_of(schema.get("oneOf"))]
    enum = schema.get("enum")
    return any(isinstance(each, Mapping) and each.get("type") == "null" for each in every) or (
        isinstance(enum, list) and None in enum
    )


def _table(schema: Any, schemas: Schema, depth: int = 0) -> Table:
    """One input as a table."""
    resolved = _resolved(schema, schemas) if depth < MOST_REFERENCES else {}
    alternatives = _alternatives(resolved, schemas)
    if not alternatives:
        alternatives = [{**resolved, "type": kind, "types": None} for kind in _list_of(resolved.get("types"))]
    if len(alternatives) > 1:
        tables = [_fitting("", _table({**each, "default": None}, schemas, depth + 1)) for each in alternatives]
        table: Table = {"type": "any"}
        if {"type": "any"} not in tables:
            table["any_of"] = tables
        return _with_default(table, resolved)
    table = {key: resolved[key] for key in KEYS if resolved.get(key) is not None}
    if "const" in resolved and "enum" not in table:
        table["enum"] = [resolved["const"]]
    if isinstance(table.get("enum"), list):
        table["enum"] = [value for value in table["enum"] if value is not None]
    kind = resolved.get("type")
    if _is_secret(resolved):
        return {"type": "secret"}
    if _is_file(resolved):
        table["type"] = "uri"
    elif kind == "array":
        table["type"] = "array"
        table["items"] = _items(_resolved(resolved.get("items"), schemas))
    else:
        table["type"] = kind if kind in SCALARS else "any"
    return _with_default(table, resolved)


def _with_default(table: Table, resolved: Schema) -> Table:
    if resolved.get("default") is not None:
        table["default"] = resolved["default"]
    if resolved.get("nullable") is True:
        table["nullable"] = True
    return table


def _items(schema: Schema) -> str:
    if _is_file(schema):
        return "uri"
    kind = schema.get("type")
    return str(kind) if kind in (*SCALARS, "array") and not _list_of(schema.get("anyOf")) else "any"


def _is_file(schema: Schema) -> bool:
    return schema.get("type") == "string" and schema.get("format") == "uri"


def _is_secret(schema: Schema) -> bool:
    return schema.get("format") == "password" or schema.get("x-cog-secret") is True


def _list_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _fitting(name: str, table: Table) -> Table:
    """The table if it makes a valid input; else without its default, then without its bounds."""
    plain: Table = {key: table[key] for key in ("type", "items", "any_of", "nullable") if key in table}
    for candidate in (table, {key: value for key, value in table.items() if key != "default"}, plain):
        try:
            InputSpec(name=name, **candidate)
        except (ValidationError, ReplibatchError, TypeError):
            continue
        return candidate
    return {"type": "any"}


def _files_in(schema: Schema, schemas: Schema, path: str, depth: int) -> list[str]:
    """Where in an output files are: names with dots between, `*` for each of a list."""
    if depth > MOST_REFERENCES:
        return []
    if _is_file(schema):
        return [path]
    if schema.get("type") == "array":
        return _files_in(_resolved(schema.get("items"), schemas), schemas, _below(path, "*"), depth + 1)
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return []
    return [
        found
        for name, each in properties.items()
        for found in _files_in(_resolved(each, schemas), schemas, _below(path, str(name)), depth + 1)
    ]


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
