"""What can be ordered at the stand-in, in words: every setting and every kind of fault."""

from __future__ import annotations

import json
from itertools import groupby
from typing import get_args

from replibatch.sandbox.answers import BEHAVIOURS, BODIES, PLACES
from replibatch.sandbox.faults import KINDS, Phase
from replibatch.sandbox.settings import SandboxSettings

PHASES = {
    Phase.ARRIVAL: "A create is answered so, and nothing is created",
    Phase.REPLY: "The prediction is created, and its reply lost",
    Phase.COURSE: "How a prediction goes and what it gives",
    Phase.ECHO: "How its rows tell what was asked for (all that strike)",
    Phase.ROW: "Its rows cannot be read",
    Phase.LISTED: "When the list shows it",
    Phase.DOWNLOAD: "How its files are served",
    Phase.READ: "Any read (by rate only)",
    Phase.WEBHOOK: "How a webhook is delivered",
}


def kinds() -> list[tuple[str, list[str]]]:
    """The kinds that have a name of their own: when they strike, in words, and their names."""
    by_phase = sorted(KINDS, key=lambda kind: list(PHASES).index(KINDS[kind]))
    return [(PHASES[phase], list(names)) for phase, names in groupby(by_phase, KINDS.__getitem__)]


def orders() -> str:
    """The kinds that name a place and an answer, in words."""
    return (
        f"<place>-<HTTP status>-<body>, <place>-<{'|'.join(BEHAVIOURS)}>; places: {', '.join(PLACES)}; "
        f"bodies: {', '.join(BODIES)}"
    )


def settings() -> list[tuple[str, str, str]]:
    """Every setting: its name, its default as JSON, and what it means."""
    defaults = SandboxSettings().model_dump(mode="json")
    rows = []
    for name, field in SandboxSettings.model_fields.items():
        words = field.description or ""
        choices = [str(choice) for choice in get_args(field.annotation) if isinstance(choice, str)]
        default = sorted(defaults[name]) if isinstance(defaults[name], list) else defaults[name]
        rows.append((name, json.dumps(default), f"{words} One of {', '.join(choices)}." if choices else words))
    return rows


def text() -> str:
    """The whole reference, as lines."""
    lines = ["Kinds of faults", ""]
    for words, names in kinds():
        lines += [f"  {words}:", *(f"    {name}" for name in names)]
    lines += ["  One endpoint answers otherwise:", f"    {orders()}", "", "Settings", ""]
    lines += [f"  {name} (default: {default})\n    {words}" for name, default, words in settings()]
    return "\n".join(lines)
