"""What can be set on the stand-in, before it starts and while it runs."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from replibatch.sandbox.answers import BEHAVIOURS, BODIES, PLACES
from replibatch.sandbox.faults import KINDS, phase_of
from replibatch.sandbox.hosting import ModelSpec

Style = Literal["created", "get", "list", "cancel"]  # which endpoint shows a row
STYLES: tuple[Style, ...] = get_args(Style)
Rate = Annotated[float, Field(ge=0, le=1)]
WEBHOOK_SECRET = "whsec_c3RhbmQtaW4gZm9yIFJlcGxpY2F0ZQ=="  # noqa: S105  # of play
FULL_NAME = r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$"
FullName = Annotated[str, Field(pattern=FULL_NAME)]


def _known_kind(kind: str) -> str:
    if phase_of(kind) is None:
        places = f"<{'|'.join(PLACES)}>-<{'|'.join(BEHAVIOURS)}>, or -<HTTP status>-<{'|'.join(BODIES)}>"
        raise ValueError(f"no fault of that name; allowed: {places}; {', '.join(KINDS)}")
    return kind


Kind = Annotated[str, AfterValidator(_known_kind)]


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
    retry_after: Literal["header", "body", "available", "resets", "minutes", "none"] = Field(
        "available",
        description="How a 429 tells the wait: a Retry-After header, `retry_after` in the body, the words "
        "'Expected available in N seconds', 'resets in ~Ns' or 'resets in ~Nm', or not at all.",
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

    fault_rates: dict[Kind, Rate] = Field({}, description="How often each kind of fault strikes.")
    model_faults: dict[FullName, dict[Kind, Rate]] = Field(
        {}, description="How often, for predictions of one model; drawn before the rates for all."
    )
    broken_models: frozenset[str] = Field(frozenset(), description="Every prediction of these fails.")
    sensitive_words: frozenset[str] = Field(
        frozenset(), description="A prompt that holds one of these is flagged as sensitive (E005), on every model."
    )
    slow_output_seconds: float = Field(2.0, ge=0, description="How long a `slow-output` download takes.")
    slow_answer_seconds: float = Field(2.0, ge=0, description="How late a `<place>-slow` answer comes.")
    echoes_in: frozenset[Style] = Field(
        frozenset(STYLES), description="Which answers show the changed echoes that `echo-…` orders."
    )
    odd_rows_in: frozenset[Style] = Field(
        frozenset({"get", "list"}), description="Which answers show the unreadable rows that `row-…` orders."
    )

    list_lag_seconds: float = Field(0.0, ge=0, description="The list shows a prediction so long after its create.")
    listed_created_later_seconds: float = Field(
        0.0,
        ge=0,
        description="How much later the list's `created_at` (and its filter) is than the create's; 0.034 was seen.",
    )
    list_page_rows: int = Field(100, ge=1, description="Rows on a page of the list.")
    ignore_created_after: bool = Field(False, description="The list takes no notice of `created_after`.")
    ignore_created_before: bool = Field(False, description="The list takes no notice of `created_before`.")
    drop_filter_on_pages: bool = Field(False, description="`next` leads past `created_after`, to the very first.")
    endless_pages: bool = Field(False, description="The last page's `next` leads to itself.")

    row_sizes: Literal["small", "realistic"] = Field(
        "small", description="How long finished rows are; realistic: half above 3.3 kB, some of a megabyte."
    )
    gzip: bool = Field(True, description="Answers above 500 bytes are compressed and chunked for who accepts it.")
    wait_status: Literal["processing", "succeeded"] = Field(
        "processing", description="What a reply held by `Prefer: wait` says of a prediction that is done."
    )
    strict_prefer: bool = Field(False, description="A `Prefer` that is not `wait` or `wait=1..60` gets a 422.")
    path_prefix: str = Field(
        "", pattern=r"^(/[A-Za-z0-9._-]+)*$", description="The API answers below this path alone, as behind a proxy."
    )

    models: dict[FullName, ModelSpec] = Field({}, description="Models besides the catalogue's, or in their place.")
    deployments: dict[FullName, FullName] = Field({}, description="Deployments, and the model each one runs.")
    webhook_secret: SecretStr = Field(SecretStr(WEBHOOK_SECRET), description="Signs webhooks; `whsec_` and base64.")
    webhooks_anywhere: bool = Field(False, description="Webhooks go to other addresses than this machine's, too.")
    webhook_pauses_seconds: tuple[float, ...] = Field(
        (1, 2, 4, 8, 15, 30), description="Between the tries to deliver that a prediction is completed."
    )
    seed: int = Field(0, description="Of everything random.")
    long_edge_pixels: int = Field(768, ge=16, le=4096, description="Of the images made.")
