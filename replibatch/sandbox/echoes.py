"""How a prediction's row tells what was asked for. Replicate does not promise to tell it as it was sent."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from replibatch.sandbox.hosting import Hosted

REDACTED = "[REDACTED]"
DELIVERY = "https://replicate.delivery/pbxt"

Inputs = dict[str, Any]


def told_input(inputs: Inputs, model: Hosted, kinds: Iterable[str]) -> Inputs | None:
    """The input as the rows show it; None where they show none.

    Args:
        inputs: as it was sent; secret ones are never shown.
        model: names the secret inputs and the defaults.
        kinds: of `echo-…`, each a key of `ECHOES`.
    """
    told = {name: REDACTED if name in model.secrets else value for name, value in inputs.items()}
    for kind in kinds:
        if kind == "echo-no-input":
            return None
        if change := _OF_INPUT.get(kind):
            told = change(told, model)
    return told


def told_model(model: Hosted, kinds: Iterable[str]) -> str | None:
    """The model's name as the rows show it; None where they show none."""
    if "echo-no-model" in kinds:
        return None
    if "echo-alias" in kinds:
        return f"replicate-internal/{model.name.partition('/')[2]}-int8-triton"
    return model.alias or model.name


def told_version(version: str, kinds: Iterable[str]) -> str | None:
    """The version as the rows show it."""
    if "echo-version-null" in kinds:
        return None
    if "echo-version-other" in kinds:
        return hashlib.sha256(version.encode()).hexdigest()
    return f"dp-{hashlib.sha256(version.encode()).hexdigest()[:32]}" if "echo-version-deployed" in kinds else version


def _redacted(told: Inputs, _: Hosted) -> Inputs:
    """Every text but the prompt, as if all were secret."""
    return {name: REDACTED if isinstance(value, str) and name != "prompt" else value for name, value in told.items()}


def _without_data_uris(told: Inputs, _: Hosted) -> Inputs:
    return {name: value for name, value in told.items() if not _has(value, _is_data_uri)}


def _data_uris_as_addresses(told: Inputs, _: Hosted) -> Inputs:
    return _each_text(told, _is_data_uri, _address)


def _uploads_rewritten(told: Inputs, _: Hosted) -> Inputs:
    return _each_text(told, lambda text: "/v1/files/" in text, _address)


def _with_defaults(told: Inputs, model: Hosted) -> Inputs:
    return {**model.defaults, **told}


def _numbers_as_text(told: Inputs, _: Hosted) -> Inputs:
    def is_number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool)

    return {name: str(value) if is_number(value) else value for name, value in told.items()}


def _integers_as_floats(told: Inputs, _: Hosted) -> Inputs:
    def is_integer(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    return {name: float(value) if is_integer(value) else value for name, value in told.items()}


def _without_nulls_and_empty(told: Inputs, _: Hosted) -> Inputs:
    return {name: value for name, value in told.items() if value not in (None, "", [])}


def _trimmed(told: Inputs, _: Hosted) -> Inputs:
    return {name: value.strip() if isinstance(value, str) else value for name, value in told.items()}


_OF_INPUT: dict[str, Callable[[Inputs, Hosted], Inputs]] = {
    "echo-redacted": _redacted,
    "echo-no-data-uris": _without_data_uris,
    "echo-data-uris-as-addresses": _data_uris_as_addresses,
    "echo-uploads-rewritten": _uploads_rewritten,
    "echo-defaults": _with_defaults,
    "echo-numbers-as-text": _numbers_as_text,
    "echo-integers-as-floats": _integers_as_floats,
    "echo-no-empty-values": _without_nulls_and_empty,
    "echo-trimmed": _trimmed,
}
ECHOES = (
    *_OF_INPUT,
    "echo-no-input",
    "echo-no-model",
    "echo-alias",
    "echo-version-null",
    "echo-version-other",
    "echo-version-deployed",
)


def _each_text(told: Inputs, wanted: Callable[[str], bool], change: Callable[[str], str]) -> Inputs:
    def changed(value: Any) -> Any:
        if isinstance(value, list):
            return [changed(item) for item in value]
        return change(value) if isinstance(value, str) and wanted(value) else value

    return {name: changed(value) for name, value in told.items()}


def _has(value: Any, wanted: Callable[[str], bool]) -> bool:
    if isinstance(value, list):
        return any(_has(item, wanted) for item in value)
    return isinstance(value, str) and wanted(value)


def _is_data_uri(text: str) -> bool:
    return text.startswith("data:")


def _address(text: str) -> str:
    return f"{DELIVERY}/{hashlib.sha256(text.encode()).hexdigest()[:48]}/file"
