"""Every setting: its variable, its default, its bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import platformdirs
from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from replibatch.settings import values
from replibatch.settings.env_file import of_env_file

REPLICATE_URL = "https://api.replicate.com"


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
        return init_settings, env_settings, InitSettingsSource(settings_cls, dict(of_env_file()))

    replicate_api_token: Annotated[SecretStr, AfterValidator(values.token)] | None = Field(
        None, alias="REPLICATE_API_TOKEN", description="The account's token; only workers need it."
    )
    replicate_base_url: Annotated[str, AfterValidator(values.http_url)] = Field(
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
    account: Annotated[str, AfterValidator(values.account_name)] = Field(
        "default", alias="REPLIBATCH_ACCOUNT", description="Names the account the limits belong to."
    )
    redis_url: Annotated[SecretStr, AfterValidator(values.redis_url)] | None = Field(
        None, alias="REPLIBATCH_REDIS_URL", description="Unset: embedded mode, with a Redis of its own."
    )
    storage_url: str | None = Field(
        None,
        alias="REPLIBATCH_STORAGE_URL",
        description="Where outputs land: a folder or s3://bucket/prefix. Unset: the working directory.",
    )
    state_dir: Annotated[Path, AfterValidator(values.path)] = Field(
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
    catalog: Annotated[Path, AfterValidator(values.path)] | None = Field(
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
    metadata: Annotated[str, AfterValidator(values.metadata)] = Field(
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

    webhook_secret: Annotated[SecretStr, AfterValidator(values.webhook_secret)] | None = Field(
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
