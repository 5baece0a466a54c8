"""What can be set on the stand-in, before it starts and while it runs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from replibatch.sandbox.faults import KINDS

Rate = Annotated[float, Field(ge=0, le=1)]


def _known_kind(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"no fault of that name; allowed: {', '.join(KINDS)}")
    return kind


class SandboxSettings(BaseModel):
    """Every setting, with its unit in its name. Assigning a field changes a running stand-in at once."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    latency_seconds: float | None = Field(
        None, ge=0, description="How long every prediction takes. Unset: as long as its model usually takes."
    )
    speed: float = Field(1.0, gt=0, description="Divides the models' usual times.")
    jitter: Rate = Field(0.0, description="A prediction takes up to this fraction more or less.")
    starting_share: Rate = Field(0.1, description="The fraction of its time that a prediction is `starting`.")

    creates_per_window: int = Field(600, ge=0, description="Creates admitted in any sliding window.")
    window_seconds: float = Field(60.0, gt=0, description="Length of that window.")
    count_refused: bool = Field(False, description="Throttled creates use up the window, too.")
    low_credit: bool = Field(False, description="Only 6 creates a window, spaced evenly: a burst of 1.")
    max_concurrent: int | None = Field(
        None, ge=0, description="Predictions in flight before creates are throttled. Unset: no limit."
    )
    reads_per_minute: int = Field(3000, ge=0, description="All other requests to the API.")
    retry_after: Literal["header", "body", "available", "resets", "none"] = Field(
        "available",
        description="How a 429 tells the wait: a Retry-After header, `retry_after` in the body, the words "
        "'Expected available in N seconds' or 'resets in ~Ns', or not at all.",
    )

    accepted_tokens: frozenset[SecretStr] | None = Field(None, description="Unset: any token will do.")
    refused_tokens: frozenset[SecretStr] = Field(frozenset(), description="These get a 401.")
    username: str = Field("sandbox", min_length=1, description="The account's.")
    other_accounts: dict[str, frozenset[SecretStr]] = Field(
        {}, description="User names of further accounts, and the tokens of each. Each has limits of its own."
    )
    credit_usd: float | None = Field(None, ge=0, description="Creates get a 402 once it is used up.")

    erase_after_seconds: float = Field(
        3600.0, ge=0, description="From a prediction's end until its input and output are erased."
    )
    keep_files_seconds: float = Field(86_400.0, ge=0, description="From a file's upload until it is gone.")
    max_upload_bytes: int = Field(100_000_000, ge=0, description="Larger files get a 413.")
    minimum_cancel_after_seconds: float = Field(5.0, ge=0, description="A shorter Cancel-After gets a 422.")

    fault_rates: dict[Annotated[str, AfterValidator(_known_kind)], Rate] = Field(
        {}, description="How often each kind of fault strikes."
    )
    broken_models: frozenset[str] = Field(frozenset(), description="Every prediction of these fails.")
    sensitive_words: frozenset[str] = Field(
        frozenset(), description="A prompt that holds one of these is flagged as sensitive (E005), on every model."
    )
    slow_output_seconds: float = Field(2.0, ge=0, description="How long a `slow-output` download takes.")
    seed: int = Field(0, description="Of everything random.")
    long_edge_pixels: int = Field(768, ge=16, le=4096, description="Of the images made.")
