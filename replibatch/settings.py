"""The settings: environment variables, or a `.env` file in the working directory.

An argument of a call wins over the environment, the environment over `.env`; an empty value is an unset one.

A working directory may come from another person: nothing in its `.env` is interpolated, and an API address from there
never gets a token from the environment.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args
from urllib.parse import urlsplit

import platformdirs
from annotated_types import Ge, Le
from dotenv import dotenv_values
from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from replibatch.errors import SettingsError
from replibatch.foreign_text import conceal
from replibatch.webhooks import key_of

REPLICATE_URL = "https://api.replicate.com"
ENV_FILE = Path(".env")  # in the working directory
REDIS_SCHEMES = ("redis", "rediss", "sentinel", "unix", "redis+socket")
KINDS = {bool: "true or false", int: "a whole number", float: "a number", Path: "a path"}
METADATA = ("none", "source", "full")
VISIBLE = re.compile(r"[!-~]+")
ACCOUNT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _metadata(value: str) -> str:
    if value not in METADATA:
        raise ValueError(", ".join(METADATA))
    return value


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an http:// or https:// address")
    if parts.scheme == "http" and not _is_this_machine(parts.hostname):  # the token could be read on the way
        raise ValueError("an https:// address; http:// for a server on this machine alone")
    return value.rstrip("/")


def _is_this_machine(host: str) -> bool:
    if host.rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _redis_url(value: SecretStr) -> SecretStr:
    if value.get_secret_value().partition("://")[0] not in REDIS_SCHEMES:
        raise ValueError("an address that starts with redis://, rediss://, sentinel:// or unix://")
    return value


def _webhook_secret(value: SecretStr) -> SecretStr:
    try:
        key_of(value.get_secret_value())
    except SettingsError:
        raise ValueError("whsec_, then 16 bytes or more in base64") from None
    return value


def _token(value: SecretStr) -> SecretStr:
    token = value.get_secret_value().strip()
    # Anything else would end up in the words of the HTTP client's error.
    if not VISIBLE.fullmatch(token):
        raise ValueError("letters, digits and punctuation of ASCII, without spaces")
    return SecretStr(token)


def _account_name(value: str) -> str:
    if not ACCOUNT_NAME.fullmatch(value):
        raise ValueError("up to 64 letters, digits, '.', '_' and '-', a letter or digit first")
    return value


def _path(value: Path) -> Path:
    try:
        return value.expanduser()
    except RuntimeError:
        raise ValueError("a path; after '~' the name of a user of this machine, or none") from None


class Settings(BaseSettings):
    """Every setting, with its unit in its name; `SPEC`-fixed variable names are the aliases.

    Build it with `load()`, which turns a bad value into a `SettingsError`.
    """

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        extra="ignore",
        populate_by_name=True,
        frozen=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments over the environment over `.env`."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, dict(_env_file()))

    replicate_api_token: Annotated[SecretStr, AfterValidator(_token)] | None = Field(
        None, alias="REPLICATE_API_TOKEN", description="The account's token; only workers need it."
    )
    replicate_base_url: Annotated[str, AfterValidator(_http_url)] = Field(
        REPLICATE_URL,
        alias="REPLICATE_BASE_URL",
        description="Another server of the same API; plain http on this machine alone.",
    )
    global_max_concurrent: int = Field(
        60,
        alias="REPLICATE_GLOBAL_MAX_CONCURRENT",
        ge=1,
        le=100_000,
        description="Predictions in flight for the account, over every machine.",
    )
    requests_per_minute: int = Field(
        600,
        alias="REPLICATE_REQUESTS_PER_MINUTE",
        ge=1,
        le=1_000_000,
        description="Predictions created in any sliding window.",
    )
    rate_window_seconds: float = Field(
        60.0, alias="REPLIBATCH_RATE_WINDOW_SECONDS", ge=0.1, le=3600, description="Length of that window."
    )
    reads_per_minute: int = Field(
        3000,
        alias="REPLICATE_READS_PER_MINUTE",
        ge=1,
        le=1_000_000,
        description="Every other request to the API.",
    )
    account: Annotated[str, AfterValidator(_account_name)] = Field(
        "default", alias="REPLIBATCH_ACCOUNT", description="Names the account the limits belong to."
    )
    redis_url: Annotated[SecretStr, AfterValidator(_redis_url)] | None = Field(
        None, alias="REPLIBATCH_REDIS_URL", description="Unset: embedded mode, with a Redis of its own."
    )
    storage_url: str | None = Field(
        None,
        alias="REPLIBATCH_STORAGE_URL",
        description="Where outputs land: a folder or s3://bucket/prefix. Unset: the working directory.",
    )
    state_dir: Annotated[Path, AfterValidator(_path)] = Field(
        Path(platformdirs.user_state_dir("replibatch")),
        alias="REPLIBATCH_STATE_DIR",
        description="Where the embedded Redis keeps its socket and data.",
    )
    lease_seconds: float = Field(
        30.0,
        alias="REPLIBATCH_LEASE_SECONDS",
        ge=1,
        le=3600,
        description="A worker silent for this long is taken for dead.",
    )
    settle_seconds: float = Field(
        30.0,
        alias="REPLIBATCH_SETTLE_SECONDS",
        ge=1,
        le=3600,
        description="How long the account's list is watched for a create with a lost reply.",
    )
    redis_connections: int = Field(
        4,
        alias="REPLIBATCH_REDIS_CONNECTIONS",
        ge=2,
        le=10_000,
        description="Connections to Redis that a process uses at once; a worker has ten more for messages.",
    )
    outage_after: int = Field(
        20,
        alias="REPLIBATCH_OUTAGE_AFTER",
        ge=1,
        le=100_000,
        description="Attempts of one model in a row that failed alike: then the model is out, and its batches wait.",
    )
    longest_pause_seconds: float = Field(
        900.0,
        alias="REPLIBATCH_LONGEST_PAUSE_SECONDS",
        ge=1,
        le=86_400,
        description="The longest pause of the account after a 429, whatever wait it asks for; then one is tried.",
    )
    prediction_timeout_seconds: float = Field(
        1800.0,
        alias="REPLIBATCH_PREDICTION_TIMEOUT_SECONDS",
        ge=5,
        le=86_400,
        description="Also sent as Replicate's own Cancel-After.",
    )
    max_retries: int = Field(
        3,
        alias="REPLIBATCH_MAX_RETRIES",
        ge=0,
        le=100,
        description="Tries of one model on passing faults, before the next model; a request may bring its own.",
    )
    keep_days: float = Field(
        7.0,
        alias="REPLIBATCH_KEEP_DAYS",
        ge=0.05,  # an hour and some: callers need time to read results
        le=3650,
        description="How long results stay in Redis once their batch is over; a single job's, once it is.",
    )
    catalog: Annotated[Path, AfterValidator(_path)] | None = Field(
        None,
        alias="REPLIBATCH_CATALOG",
        description="The user's own models. Unset: replibatch.toml in the working directory, if there.",
    )
    fallback_safety_off: bool = Field(
        False,
        alias="REPLIBATCH_FALLBACK_SAFETY_OFF",
        description="A fallback to flux-dev switches its safety checker off.",
    )
    regenerate_erased: bool = Field(
        False,
        alias="REPLIBATCH_REGENERATE_ERASED",
        description="Pay again for an output Replicate erased before it could be saved.",
    )
    placeholder: bool = Field(
        True,
        alias="REPLIBATCH_PLACEHOLDER",
        description="Write the black 1600x900 image when every model failed.",
    )
    local_files: bool = Field(
        True,
        alias="REPLIBATCH_LOCAL_FILES",
        description="Whether a request may name files of this machine; false in a web application.",
    )
    metadata: Annotated[str, AfterValidator(_metadata)] = Field(
        "none",
        alias="REPLIBATCH_METADATA",
        description="Metadata to write into finished files, as XMP: `none`; `source` (made by AI, by which model and "
        "prediction); `full` (prompt, inputs and cost too). A producer's own value goes along with its requests.",
    )
    budget_usd: float | None = Field(
        None,
        alias="REPLIBATCH_BUDGET_USD",
        ge=0,
        le=1e9,
        description="Nothing is started that could take the month's spend (UTC) past it.",
    )

    webhook_secret: Annotated[SecretStr, AfterValidator(_webhook_secret)] | None = Field(
        None,
        alias="REPLIBATCH_WEBHOOK_SECRET",
        description="What workers sign webhooks with: whsec_ and base64. Unset: they are not signed.",
    )
    webhook_private: bool = Field(
        False,
        alias="REPLIBATCH_WEBHOOK_PRIVATE",
        description="Webhooks may go to addresses of private networks and of this machine.",
    )
    confirm_usd: float = Field(
        10.0,
        alias="REPLIBATCH_CONFIRM_USD",
        ge=0,
        le=1e9,
        description="On a terminal, a list estimated above this asks before it starts; --yes answers.",
    )

    secret_variables: str | None = Field(
        None,
        alias="REPLIBATCH_SECRET_VARIABLES",
        description="Variables of a worker that inputs may name as env:NAME, with commas between. "
        "Unset: any but the settings of replibatch, Replicate, Celery, Flower and AWS.",
    )

    @property
    def redis_address(self) -> str:
        """Where Redis is, without its password; `embedded` where that is this machine's own."""
        if self.redis_url is None:
            return "embedded"
        parts = urlsplit(self.redis_url.get_secret_value())
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def keep_seconds(self) -> float:
        """`keep_days` in seconds."""
        return self.keep_days * 24 * 3600

    @property
    def account_key(self) -> str:
        """What its Redis keys and its queue are named by: name and host, as `default@api.replicate.com`."""
        parts = urlsplit(self.replicate_base_url)
        return f"{self.account}@{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def key_prefix(self) -> str:
        """What its Redis keys begin with."""
        return f"rb:{self.account_key}:"


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
        raise SettingsError(_one_line(error, given)) from None
    except UnicodeDecodeError as error:
        raise SettingsError(f".env: not UTF-8 text ({error.reason} at byte {error.start})") from None
    _refuse_a_foreign_address(settings, given)
    if settings.replicate_api_token:
        conceal(settings.replicate_api_token.get_secret_value())
    return settings


def _env_file() -> dict[str, str]:
    """What `.env` in the working directory sets, by variable; letter for letter, without interpolation."""
    if not ENV_FILE.is_file():
        return {}
    values = dotenv_values(ENV_FILE, interpolate=False, encoding="utf-8")
    return {name.upper(): value for name, value in values.items() if value}


def taken_from_env_file() -> list[str]:
    """The variables with values taken from `.env`, in its order."""
    own = {name.upper() for name, value in os.environ.items() if value}
    known = {field.alias for field in Settings.model_fields.values()}
    return [name for name in _env_file() if name in known and name not in own]


def _refuse_a_foreign_address(settings: Settings, given: Mapping[str, Any]) -> None:
    """Send no token to an address that only a file of the working directory names.

    Raises:
        SettingsError: the address is from `.env`, the token is not.
    """
    file = _env_file()
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
        raise SettingsError(_one_line(error, {})) from None


def _one_line(error: ValidationError, given: dict[str, Any]) -> str:
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
    """The allowed values in words: from the validators above, or from the field's type and bounds."""
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
