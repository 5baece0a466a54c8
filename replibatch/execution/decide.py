"""The decision after a failed attempt: the same model once more, the next model, or the end. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

from replibatch.catalog import Model
from replibatch.errors import AttemptFailure, Throttled, Verdict
from replibatch.requests import Attempt
from replibatch.results import MODEL_OUT

HELD = "held"  # the reason of an attempt that an outage has used up nothing of
USED_UP_NOTHING = (Throttled.reason, HELD, MODEL_OUT)
BACKOFF_SECONDS = 1.0  # before the second try of a model, doubled with each further one …
LONGEST_BACKOFF_SECONDS = 60.0  # … up to this
JITTER = 0.25  # the share by which a pause is shorter or longer, so that those who failed together part


@dataclass(frozen=True)
class Wait:
    """The same attempt again, once the account may; `seconds` is what Replicate asked for, None where nothing."""

    seconds: float | None


@dataclass(frozen=True)
class Retry:
    """The same model again, after a pause."""

    pause_seconds: float


@dataclass(frozen=True)
class NextModel:
    """Another model, at once."""

    model: str


@dataclass(frozen=True)
class GiveUp:
    """The end; `reason` says in a line why nothing follows."""

    reason: str


Decision = Wait | Retry | NextModel | GiveUp


def decide(
    failure: AttemptFailure,
    attempts: Sequence[Attempt],
    model: Model,
    models: Mapping[str, Model],
    *,
    references: int,
    fallback: bool,
    max_retries: int,
) -> Decision:
    """What follows a failed attempt.

    Args:
        failure: why it failed.
        attempts: all of the generation so far, this one last.
        model: the one that failed.
        models: every model that its fallbacks lead to, by name.
        references: how many reference images the request has.
        fallback: whether another model may stand in.
        max_retries: how often one model is tried on passing faults, the first time included.
    """
    match failure.verdict:
        case Verdict.WAIT:
            return Wait(failure.retry_after_seconds if isinstance(failure, Throttled) else None)
        case Verdict.RECONCILE:
            return GiveUp("whether a prediction was created is not known, and none is paid for twice")
        case Verdict.RETRY:
            own = [attempt for attempt in attempts if attempt.model == model.name]
            tries = sum(attempt.reason not in USED_UP_NOTHING for attempt in own)
            if tries < max_retries:
                return Retry(_pause_seconds(tries, attempts[-1]))
    if not fallback:
        return GiveUp("no other model may stand in")
    following = next_model(failure.reason, attempts, model, models, references=references)
    if following is None:
        images = " that takes its reference images" if references else ""
        return GiveUp(f"after {model.name} ({failure.reason}) no model is left{images}")
    return NextModel(following)


def next_model(
    reason: str, attempts: Sequence[Attempt], model: Model, models: Mapping[str, Model], *, references: int
) -> str | None:
    """The model that takes the place of one that failed for a reason; None for none. Arguments as of `decide`."""
    tried = {attempt.model for attempt in attempts} | {model.name}
    return _next(model, reason, references, models, tried)


def _next(model: Model, reason: str, references: int, models: Mapping[str, Model], passed: set[str]) -> str | None:
    """The first model along the edges that take this failure: not tried yet, and able to take the images.

    One that cannot take them is passed over, and its own edges are followed. `passed` grows with each one tried.
    """
    for edge in model.fallback:
        if reason not in edge.on or edge.model in passed or (edge.references and not references):
            continue
        candidate = models[edge.model]
        if candidate.reference_max >= references:
            return candidate.name
        passed.add(candidate.name)
        if further := _next(candidate, reason, references, models, passed):
            return further
    return None


def _pause_seconds(tries: int, last: Attempt) -> float:
    """Exponential, and a little different for every generation; the same attempt gives the same pause."""
    pause_seconds = min(BACKOFF_SECONDS * 2.0 ** (tries - 1), LONGEST_BACKOFF_SECONDS)
    fraction = crc32(repr(last).encode()) / 2**32
    return round(pause_seconds * (1 - JITTER + 2 * JITTER * fraction), 3)
