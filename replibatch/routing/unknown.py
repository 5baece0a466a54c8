"""Models with unknown inputs: keep every input, and refuse by name any that must not be written down."""

from __future__ import annotations

import re
from typing import Any

from replibatch.catalog import InputSpec, Model
from replibatch.catalog.values import ENVIRONMENT_NAME, checked_json
from replibatch.errors import RequestError

SECRET_NAME = re.compile(
    r"(.*_)?((api|access|auth|secret|hf|hub|huggingface|civitai|wandb|openai|anthropic|replicate)_?(api_?)?(key|token)"
    r"|password|secret)",
    re.IGNORECASE,
)


def said_of(model: Model, prompt: str) -> list[str]:
    """What to say of a model before it is run: that its inputs are not known, or that it has none for the prompt."""
    if not model.inputs_known:
        return [f"{model.name}: its inputs are not known; they are sent as they are"]
    return [f"{model.name} takes no prompt; left out"] if prompt and model.prompt_name is None else []


def as_it_stands(name: str, value: Any) -> Any:
    """An input that nothing is known of, as it is sent.

    Raises:
        RequestError: it cannot be sent as JSON, or by its name it is a secret that is given in plain.
    """
    if SECRET_NAME.fullmatch(name):
        return InputSpec(name=name, type="secret").coerce(value)
    try:
        return checked_json(value)
    except ValueError:
        raise RequestError(f"{name} is {type(value).__name__}; allowed: JSON, without inf and nan") from None


def is_secret(name: str, value: Any, model: Model) -> bool:
    """Whether an input of a request is one that only the model may see."""
    if not isinstance(value, str) or not ENVIRONMENT_NAME.fullmatch(value):
        return False
    spec = model.inputs.get(name)
    return spec.is_secret if spec else not model.inputs_known
