"""Secret inputs: named `env:NAME` everywhere, their values known to the create alone."""

from __future__ import annotations

import os
from typing import Any

from replibatch.catalog import Model
from replibatch.catalog.values import ENVIRONMENT_NAME
from replibatch.errors import RequestError
from replibatch.routing.unknown import is_secret

# A worker's own secrets: no request may pass them to a model.
OWN_PREFIXES = ("REPLIBATCH_", "REPLICATE_", "AWS_", "FLOWER_", "CELERY_")


def secrets_of(model: Model, inputs: dict[str, Any]) -> dict[str, str]:
    """The values of the secret inputs of an attempt, by input; those that this process does not have are left out."""
    named = {name: str(value) for name, value in inputs.items() if is_secret(name, value, model)}
    return {
        name: value
        for name, reference in named.items()
        if (value := os.environ.get(_variable_of(reference))) and not _is_own(reference)
    }


def check_secrets(model: Model, inputs: dict[str, Any], allowed: str | None = None) -> None:
    """See that every secret input can be sent.

    Args:
        model: of the attempt.
        inputs: its inputs.
        allowed: the variables that requests may name, with commas between; None for any that is set.

    Raises:
        RequestError: its variable is not set here, not allowed, or one of the worker's own.
    """
    for name, reference in inputs.items():
        if not is_secret(name, reference, model):
            continue
        if _is_own(reference):
            raise RequestError(f"{name} is {reference}; allowed: a variable that is not of the worker's own settings")
        if allowed is not None and _variable_of(reference) not in {each.strip() for each in allowed.split(",")}:
            raise RequestError(f"{name} is {reference}; expected: a variable of REPLIBATCH_SECRET_VARIABLES")
        if not os.environ.get(_variable_of(reference)):
            raise RequestError(f"{name} is {reference}; allowed: a variable that is set where the workers run")


def _variable_of(reference: str) -> str:
    found = ENVIRONMENT_NAME.fullmatch(reference)
    return found[1] if found else ""


def _is_own(reference: str) -> bool:
    return _variable_of(reference).upper().startswith(OWN_PREFIXES)
