"""Reads the settings now, and checks them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from replibatch.errors import SettingsError
from replibatch.foreign_text import conceal
from replibatch.settings.env_file import ENV_FILE, of_env_file
from replibatch.settings.explained import one_line
from replibatch.settings.model import REPLICATE_URL, Settings


def load(**arguments: Any) -> Settings:
    """Read the settings now: `arguments` over the environment over `.env` in the working directory.

    Args:
        **arguments: values by field name (`global_max_concurrent=10`); None counts as not given.

    Raises:
        SettingsError: naming the variable, the value (never a secret) and the allowed values.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise SettingsError(one_line(error, given)) from None
    except UnicodeDecodeError as error:
        raise SettingsError(f".env: not UTF-8 text ({error.reason} at byte {error.start})") from None
    _refuse_a_foreign_address(settings, given)
    if settings.replicate_api_token:
        conceal(settings.replicate_api_token.get_secret_value())
    return settings


def taken_from_env_file() -> list[str]:
    """The variables with values taken from `.env`, in its order."""
    own = {name.upper() for name, value in os.environ.items() if value}
    known = {field.alias for field in Settings.model_fields.values()}
    return [name for name in of_env_file() if name in known and name not in own]


def _refuse_a_foreign_address(settings: Settings, given: Mapping[str, Any]) -> None:
    """Send no token to an address that only a file of the working directory names.

    Raises:
        SettingsError: the address is from `.env`, the token is not.
    """
    file = of_env_file()
    own = {name.upper() for name, value in os.environ.items() if value}
    address_is_own = "replicate_base_url" in given or "REPLICATE_BASE_URL" in own
    token_is_own = "replicate_api_token" in given or "REPLICATE_API_TOKEN" in own
    if "REPLICATE_BASE_URL" not in file or address_is_own or not token_is_own:
        return
    if settings.replicate_base_url != REPLICATE_URL:
        raise SettingsError(
            f"REPLICATE_BASE_URL is {settings.replicate_base_url!r} in {ENV_FILE.absolute()}, the token is not from "
            "there and would be sent to that address; expected: both in the environment, or both in .env"
        )


class _Given(Settings):
    """Nothing but what it is given."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def check(values: Mapping[str, str]) -> None:
    """Check values before they are written down anywhere; an empty one is an unset one.

    Args:
        values: by variable name.

    Raises:
        SettingsError: as `load`.
    """
    given: dict[str, Any] = {name: value for name, value in values.items() if value}
    try:
        _Given(**given)
    except ValidationError as error:
        raise SettingsError(one_line(error, {})) from None
