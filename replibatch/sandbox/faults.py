"""Faults to order: by a marker in a prompt, or at a rate for everything.

A marker reads `[[kind]]`, `[[kind:2]]` (the first two times only, counted for each prompt and model) or
`[[kind@owner/name,owner/name]]` (on these models only); a prompt may carry several. `KINDS` has those with a name of
their own; the others order an answer of any status and body at one place, see `answers`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from replibatch.sandbox import answers, echoes, failures, forms, odd_rows, throttles

STUCK = ("stuck", "stuck-starting", "stuck-404", "stuck-409", "stuck-500", "stuck-hang")
# Their number says how many outputs or seconds, not how many times.
NOT_COUNTED = frozenset({"output-many", "many", "listed-late", *STUCK})

_MARKER = re.compile(r"\[\[([a-z0-9-]+)(?::(\d+))?(?:@([^\]\s]+))?\]\]")


class Phase(StrEnum):
    """When a fault strikes."""

    ARRIVAL = "create"  # of a create: nothing is created
    REPLY = "created"  # to a create: the prediction is created, and its reply lost
    COURSE = "course"  # of the prediction: how it goes and what it gives
    DOWNLOAD = "download"  # of an output
    READ = "read"  # any GET of the API
    GET = "get"  # of one prediction
    LIST = "list"
    CANCEL = "cancel"
    FILE = "file"
    MODEL = "model"
    ACCOUNT = "account"
    ECHO = "echo"  # how a row tells model and input
    ROW = "row"  # a row that cannot be read
    LISTED = "listed"  # when the list shows the row
    WEBHOOK = "webhook"


KINDS = {
    "429": Phase.ARRIVAL,
    **dict.fromkeys(throttles.FORMS, Phase.ARRIVAL),
    "500-before": Phase.ARRIVAL,
    "502-before": Phase.ARRIVAL,
    "503-before": Phase.ARRIVAL,
    "drop-before": Phase.ARRIVAL,  # the connection is closed without a reply
    "500-after": Phase.REPLY,
    "502-after": Phase.REPLY,
    "504-after": Phase.REPLY,
    "drop-after": Phase.REPLY,
    "hang-reply": Phase.REPLY,  # the connection stays open and silent
    **dict.fromkeys(failures.TEXTS, Phase.COURSE),
    "canceled": Phase.COURSE,  # by another client, half-way
    "aborted": Phase.COURSE,  # before it began to run
    "hang": Phase.COURSE,  # runs until canceled, or until its Cancel-After
    "endless": Phase.COURSE,  # runs until canceled, whatever its Cancel-After
    **dict.fromkeys(STUCK, Phase.COURSE),  # runs for ever, or as many seconds as the number says, whatever is asked
    **dict.fromkeys(forms.FORMS, Phase.COURSE),
    **dict.fromkeys(echoes.ECHOES, Phase.ECHO),
    **dict.fromkeys(odd_rows.ODD_ROWS, Phase.ROW),
    "listed-late": Phase.LISTED,  # the list shows it so many seconds later than its create (5 if none)
    "listed-never": Phase.LISTED,
    "slow-output": Phase.DOWNLOAD,
    "truncated-output": Phase.DOWNLOAD,  # fewer bytes than Content-Length says
    "half-output": Phase.DOWNLOAD,  # half of the file, and a Content-Length that says so
    "empty-output": Phase.DOWNLOAD,  # no byte
    "expired-output": Phase.DOWNLOAD,  # 404
    "failed-reads": Phase.READ,  # 5xx; by rate only
    "webhook-missed": Phase.WEBHOOK,
    "webhook-twice": Phase.WEBHOOK,
}


def phase_of(kind: str) -> Phase | None:
    """When a kind of fault strikes; None where there is none of that name."""
    if kind in KINDS:
        return KINDS[kind]
    order = answers.order(kind)
    return Phase(order.place) if order else None


@dataclass(frozen=True)
class Fault:
    """One fault, ordered or drawn.

    Attributes:
        kind: one that `phase_of` knows.
        number: how many times, or None for always; what else it says, see `NOT_COUNTED`.
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
        if phase_of(kind)
    )
