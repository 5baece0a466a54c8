"""A setting that is not usable, in one line: its name, the value found, the allowed ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from annotated_types import Ge, Le
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from replibatch.settings.model import Settings

KINDS = {bool: "true or false", int: "a whole number", float: "a number", Path: "a path"}


def one_line(error: ValidationError, given: dict[str, Any]) -> str:
    """The first mistake; a field that was given as an argument under its own name. A secret is not shown."""
    problem = error.errors(include_url=False)[0]
    name = str(problem["loc"][0])
    field_name, field = next(
        (key, field) for key, field in Settings.model_fields.items() if name in (key, field.alias)
    )
    label = field_name if field_name in given else str(field.alias)
    found = "is not usable (not shown: it is a secret)" if _is_secret(field) else f"is {str(problem['input'])!r}"
    return f"{label} {found}; allowed: {_allowed(problem, field)}"


def _is_secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation)


def _allowed(problem: ErrorDetails, field: FieldInfo) -> str:
    """The allowed values in words: from the validators, or from the field's type and bounds."""
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    types = (field.annotation, *get_args(field.annotation))
    words = next((words for kind, words in KINDS.items() if kind in types), "a text")
    for bound in field.metadata:
        match bound:
            case Ge(ge=least):
                words += f" from {least:.12g}"
            case Le(le=most):
                words += f" to {most:.12g}"
    return words
