"""Figures and results as people read them."""

from __future__ import annotations

from itertools import pairwise

from replibatch.cli.run.tally import Tally, is_fallback
from replibatch.foreign_text import one_line
from replibatch.requests import Attempt, BatchResult

STAND_INS_SHOWN = 12
UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def duration(seconds: float) -> str:
    """`0.8 s`, `45 s`, `2 min 5 s`, `3 h 20 min`, `2 d 4 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for (size, name), (smaller, small_name) in pairwise(UNITS):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {name} {rest} {small_name}" if rest else f"{whole // size} {name}"
    return f"{whole} s"


def dollars(amount: float | None) -> str:
    """`$12.30`; with a tenth of a cent where cents would hide it; None is `unknown`."""
    if amount is None:
        return "unknown"
    cents = round(amount * 100, 6)
    return f"${amount:,.2f}" if cents >= 100 or cents == int(cents) else f"${amount:,.3f}"


def count(number: int, noun: str) -> str:
    """`1 item`, `1,200 items`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def short(model: str) -> str:
    """A model without its owner."""
    return model.rpartition("/")[2]


def chain(attempts: tuple[Attempt, ...]) -> str:
    """What was tried in vain, and why: `flux-dev (failed), qwen-image (sensitive)`."""
    return ", ".join(f"{short(attempt.model)} ({attempt.reason})" for attempt in attempts if attempt.reason)


def outcome(result: BatchResult) -> str:
    """How a result came about, in a few words."""
    if result.success:
        after = f", after {chain(result.attempts)}" if is_fallback(result) else ""
        steps = f", {len(result.steps)} steps" if result.steps else ""
        return one_line(f"{short(str(result.model_used))}{steps}{after}")
    if result.placeholder:
        return one_line(f"placeholder, after {chain(result.attempts)}")
    return one_line(result.error or str(result.state))


def stand_ins(tally: Tally) -> list[str]:
    """The lines at the end of a run that say who made something in whose place, and why."""
    lines = [
        one_line(f"{each.made_by} made {count(number, 'item')} in place of {each.model}: {each.why}")
        for each, number in tally.stand_ins.most_common()
    ]
    more = len(lines) - STAND_INS_SHOWN
    return lines if more <= 0 else [*lines[:STAND_INS_SHOWN], f"and {count(more, 'more such line')}"]


def closing(tally: Tally, in_flight: int = 0) -> str:
    """The line at the end of a run.

    Args:
        tally: of the run.
        in_flight: how many are at Replicate, not finished.
    """
    parts = [f"{tally.succeeded:,} of {count(tally.total, 'item')} made"]
    if tally.fallbacks:
        parts.append(f"{tally.fallbacks:,} by a fallback")
    if tally.placeholders:
        parts.append(count(tally.placeholders, "placeholder"))
    if tally.failed:
        parts.append(f"{tally.failed:,} failed")
    if tally.canceled:
        parts.append(f"{tally.canceled:,} canceled")
    if left := tally.total - tally.done:
        in_flight = min(in_flight, left)
        if in_flight:
            parts.append(f"{in_flight:,} in flight")
        if left > in_flight:
            parts.append(f"{left - in_flight:,} not started")
    if tally.skipped:
        parts.append(f"{tally.skipped:,} made before")
    unpriced = f" and {count(tally.unpriced, 'item')} of unknown cost" if tally.unpriced else ""
    return f"{', '.join(parts)}; {dollars(tally.cost_usd)}{unpriced} in {duration(tally.seconds)}"
