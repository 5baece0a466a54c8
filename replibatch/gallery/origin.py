"""What made a file: by what the file says itself, and by the results beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replibatch import contents
from replibatch.gallery.results_lines import Line, parsed
from replibatch.outputs.provenance import Provenance, read

RESULTS = "results.jsonl"
FORMAT = "output_format"
MADE_UP_ID = re.compile(r"r[0-9a-f]{32}")  # `run` gives one to a line that has none
FOLDERS_LOOKED_AT = 8  # the file's own, and those above it


@dataclass(frozen=True)
class Origin:
    """What made a file.

    Attributes:
        file: the file.
        told: the file's own record; None where it has none.
        line: its result; None where no results file names it.
        changed: whether its bytes are others than when it was saved; None where that is not known.
    """

    file: Path
    told: Provenance | None
    line: Line | None
    changed: bool | None = None

    @property
    def model(self) -> str:
        """The model that made it."""
        if self.line and self.line.result.model_used:
            return self.line.result.model_used
        return self.told.model if self.told else ""

    @property
    def request(self) -> dict[str, Any]:
        """A line of a list that makes it again; without a prompt where only the model is known."""
        if self.line:
            result = self.line.result
            inputs = {name: value for name, value in result.inputs.items() if name != "prompt"}
            own = {name: value for name, value in self.line.own_fields.items() if name not in inputs}
            prompt = {"prompt": result.prompt} if result.prompt else {}
            id_ = {} if MADE_UP_ID.fullmatch(result.request_id) else {"id": result.request_id}
            return self._named({**id_, **prompt, "model": self.model, **inputs, **own})
        return self._named(self.told.line()) if self.told and self.told.request else {}

    def _named(self, line: dict[str, Any]) -> dict[str, Any]:
        """With the file's name where only that says which format was asked for."""
        return line if FORMAT in line else {**line, "output": self.file.name}

    @property
    def prediction_id(self) -> str | None:
        """Replicate's id of what made it."""
        if self.line and (made := [each for each in self.line.result.attempts if each.outcome == "succeeded"]):
            return made[-1].prediction_id
        return self.told.prediction_id if self.told else None

    @property
    def cost_usd(self) -> float | None:
        """What it cost, failed attempts included; None where that is not known."""
        return self.line.result.cost_usd if self.line else self.told.cost_usd if self.told else None


def origin_of(file: Path) -> Origin:
    """What made a file.

    Args:
        file: of any kind.

    Raises:
        OSError: it cannot be read.
    """
    told = read(file)
    for results in _results_files(file):
        if line := _line_of(file, results):
            recorded = {
                each.sha256
                for each in (*line.result.files, *line.result.files_of_steps())
                if _same(results.parent / each.path, file)
            }
            return Origin(file, told, line, contents.sha256(file) not in recorded if recorded - {None} else None)
    return Origin(file, told, None)


def _results_files(file: Path) -> Iterator[Path]:
    folders = [file.absolute().parent, *file.absolute().parent.parents]
    for folder in folders[:FOLDERS_LOOKED_AT]:
        if (found := folder / RESULTS).is_file():
            yield found


def _line_of(file: Path, results: Path) -> Line | None:
    """The newest result that has this file."""
    name = file.name.encode()
    newest = None
    with results.open("rb") as lines:
        for raw in lines:
            if name not in raw and file.name.isascii():
                continue
            line = parsed(raw)
            if line and any(_same(results.parent / path, file) for path in line.result.file_paths):
                newest = line
    return newest


def _same(path: Path, file: Path) -> bool:
    try:
        return path.name == file.name and path.samefile(file)
    except OSError:
        return False
