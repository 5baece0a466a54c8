"""Faults to order: by a marker in a prompt, or at a rate for everything.

A marker reads `[[kind]]`, `[[kind:2]]` (the first two times only, counted for each prompt and model) or
`[[kind@owner/name,owner/name]]` (on these models only); a prompt may carry several. `KINDS` has them all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

_MARKER = re.compile(r"\[\[([a-z0-9-]+)(?::(\d+))?(?:@([^\]\s]+))?\]\]")


class Phase(StrEnum):
    """When a fault strikes."""

    ARRIVAL = "arrival"  # of a create: nothing is created
    REPLY = "reply"  # to a create: the prediction is created, and its reply lost
    COURSE = "course"  # of the prediction: how it goes and what it gives
    DOWNLOAD = "download"  # of an output
    READ = "read"  # any GET of the API


KINDS = {
    "429": Phase.ARRIVAL,
    "500-before": Phase.ARRIVAL,
    "502-before": Phase.ARRIVAL,
    "503-before": Phase.ARRIVAL,
    "drop-before": Phase.ARRIVAL,  # the connection is closed without a reply
    "500-after": Phase.REPLY,
    "502-after": Phase.REPLY,
    "504-after": Phase.REPLY,
    "drop-after": Phase.REPLY,
    "hang-reply": Phase.REPLY,  # the connection stays open and silent
    "failed": Phase.COURSE,
    "sensitive": Phase.COURSE,  # E005
    "interrupted": Phase.COURSE,  # code PA
    "canceled": Phase.COURSE,  # by somebody else, half-way
    "aborted": Phase.COURSE,  # before it began to run
    "hang": Phase.COURSE,  # runs until canceled, or until its Cancel-After
    "endless": Phase.COURSE,  # runs until canceled, whatever its Cancel-After
    "null-output": Phase.COURSE,
    "empty-list": Phase.COURSE,
    "data-uri": Phase.COURSE,
    "text": Phase.COURSE,
    "text-pieces": Phase.COURSE,  # a list of texts, as language models stream theirs
    "many": Phase.COURSE,  # as many outputs as the number says (3 if none)
    "slow-output": Phase.DOWNLOAD,
    "truncated-output": Phase.DOWNLOAD,  # fewer bytes than Content-Length says
    "expired-output": Phase.DOWNLOAD,  # 404
    "failed-reads": Phase.READ,  # 5xx; by rate only
}


@dataclass(frozen=True)
class Fault:
    """One fault, ordered or drawn.

    Attributes:
        kind: a key of `KINDS`.
        number: how many times, or None for always (`many`: how many outputs).
        models: only on these; empty for all.
    """

    kind: str
    number: int | None = None
    models: frozenset[str] = frozenset()


@lru_cache(maxsize=4096)
def ordered(prompt: str) -> tuple[Fault, ...]:
    """The faults a prompt orders, in their order there; a marker of no known kind is plain text."""
    return tuple(
        Fault(kind, int(number) if number else None, frozenset(models.split(",")) if models else frozenset())
        for kind, number, models in _MARKER.findall(prompt)
        if kind in KINDS
    )
