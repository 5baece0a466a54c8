"""Predictions as the API's JSON: fresh, as creates and gets answer, and listed, as lists and cancels do.

Recorded: a fresh row omits fields without a value, and gives times to the nanosecond; a listed row has null for such
fields, and times to the microsecond.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from replibatch.sandbox import forms
from replibatch.sandbox.clock import iso, iso_nanoseconds
from replibatch.sandbox.forms import FileRef
from replibatch.sandbox.odd_rows import ODD_ROWS
from replibatch.sandbox.predictions import Prediction, Told
from replibatch.sandbox.settings import SandboxSettings, Style

Row = dict[str, Any]
FRESH = ("created", "get")
STEPS = 28
_LINE = "{percent:3d}%|{bar:<10}| {step}/28 [00:{step:02d}<00:{left:02d},  1.14it/s]\n"
# Of finished rows: half below 3.3 kB, nine of ten below 30 kB, one of a hundred a megabyte and more.
MEDIAN_BYTES, SIGMA, LARGEST_BYTES, LARGEST_SHARE = 3300, 1.72, 1_200_000, 0.01


@dataclass(frozen=True)
class Look:
    """The form of a row, as far as settings and time decide it.

    Attributes:
        style: which endpoint answers.
        erased: without input and output.
        realistic: as long as real rows are.
        changed: with the changed echo that a fault orders.
        odd: as the unreadable row that a fault orders.
        later_seconds: how much later `created_at` is.
    """

    style: Style
    erased: bool = False
    realistic: bool = False
    changed: bool = True
    odd: bool = False
    later_seconds: float = 0.0

    @classmethod
    def of(cls, style: Style, settings: SandboxSettings, *, erased: bool) -> Look:
        """As the settings have it now."""
        return cls(
            style,
            erased,
            settings.row_sizes == "realistic",
            style in settings.echoes_in,
            style in settings.odd_rows_in,
            0.0 if style in FRESH else settings.listed_created_later_seconds,
        )


def text(prediction: Prediction, base_url: str, look: Look) -> str:
    """One row, as JSON.

    Args:
        prediction: what it is of.
        base_url: the server as the client reached it; all addresses start with it.
        look: the form of the row.
    """
    row = view(prediction, base_url, look)
    if look.odd and prediction.row:
        return ODD_ROWS[prediction.row.kind](row)
    return json.dumps(row, separators=(",", ":"))


def view(prediction: Prediction, base_url: str, look: Look) -> Row:
    """The row itself; arguments as for `text`."""
    fresh = look.style in FRESH
    told = prediction.told if look.changed else prediction.plain
    here = f"{base_url}/v1/predictions/{prediction.id}"
    write = _nanoseconds(prediction) if fresh else iso
    row: Row = {
        "id": prediction.id,
        "model": told.model,
        "version": told.version,
        "input": None if look.erased else told.input,
        "logs": None if look.erased else _logs(prediction, realistic=look.realistic),
        "output": None if look.erased else output(prediction, base_url),
        "data_removed": look.erased,
        "error": prediction.error,
        "source": "api",
        "status": prediction.status,
        "created_at": write(prediction.created_at + look.later_seconds),
        "started_at": write(prediction.started_at),
        "completed_at": write(prediction.completed_at),
        "urls": {"cancel": f"{here}/cancel", "get": here, "web": f"https://replicate.com/p/{prediction.id}"},
    }
    if prediction.is_over:
        row["metrics"] = prediction.metrics
    if prediction.request.deadline is not None:
        row["deadline"] = write(prediction.request.deadline)
    if prediction.request.deployment is not None:
        row["deployment"] = prediction.request.deployment
    for name in _left_out(prediction, told, look.style):
        del row[name]
    return row


def output(prediction: Prediction, base_url: str) -> Any:
    """The prediction's output, with addresses for its files."""

    def address(ref: FileRef) -> str:
        path = f"/output/{prediction.id}/{ref.name}"
        if ref.form == "relative":
            return path
        return f"{base_url.partition(':')[2]}{path}" if ref.form == "protocol-relative" else f"{base_url}{path}"

    return forms.told(prediction.value, address)


def _left_out(prediction: Prediction, told: Told, style: Style) -> list[str]:
    absent = [name for name in ("model", "input") if getattr(told, name) is None]
    if style in FRESH and not prediction.is_over:
        absent += [name for name in ("started_at", "completed_at") if getattr(prediction, name) is None]
        absent += ["output"] if prediction.value is None else []
    if style == "created":
        absent.append("source")
    return absent


def _nanoseconds(prediction: Prediction) -> Callable[[float | None], str | None]:
    below = sum(prediction.id.encode()) % 1000
    return lambda at: iso_nanoseconds(at, below)


def _logs(prediction: Prediction, *, realistic: bool) -> str:
    if prediction.started_at is None:
        return ""
    if not prediction.is_over:
        return "Using seed: 42069\n"
    line = _LINE.format(percent=100, bar="█" * 10, step=STEPS, left=0)
    if not realistic:
        return f"Using seed: 42069\n{line}"
    rng = random.Random(prediction.id)  # noqa: S311  # nothing secret
    length = LARGEST_BYTES if rng.random() < LARGEST_SHARE else MEDIAN_BYTES * rng.lognormvariate(0, SIGMA)
    lines = int(min(length, LARGEST_BYTES)) // len(json.dumps(line))
    return "Using seed: 42069\n" + line * lines
