"""A result as rows of a table: one for each of its files, and one where it has none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from replibatch.gallery.results_lines import Line

Row = dict[str, Any]


def rows(line: Line) -> Iterator[Row]:
    """The rows of a result; inputs are columns `input.<name>`, the caller's own data `field.<name>`."""
    result = line.result
    common = {
        "index": line.index,
        "id": result.request_id,
        "prompt": result.prompt or "",
        "model": result.model_name,
        "model_used": result.model_used,
        "state": line.state,
        "seconds": result.duration,
        "cost_usd": result.cost_usd,
        "error": result.error,
        "prediction_id": next((each.prediction_id for each in reversed(result.attempts)), None),
    }
    inputs = {f"input.{name}": value for name, value in result.inputs.items() if name != "prompt"}
    fields = {f"field.{name}": value for name, value in line.own_fields.items()}
    for number, file in enumerate(result.files, 1):
        told = {"file": file.path, "file_number": number, "sha256": file.sha256}
        yield {**common, **told, **inputs, **fields}
    if not result.files:
        yield {**common, "file": None, "file_number": None, "sha256": None, **inputs, **fields}


def caption(line: Line) -> Row:
    """What goes along with a picture in a data set."""
    (row, *_) = rows(line)
    return {name: value for name, value in row.items() if name not in ("file", "file_number", "sha256", "error")}


def pictures(line: Line, folder: Path) -> list[Path]:
    """The files of a success, where they are."""
    return [folder / file.path for file in line.result.files] if line.result.success else []
