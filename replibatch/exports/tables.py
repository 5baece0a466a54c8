"""Results as a table: CSV, or Parquet with the extra `parquet`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from replibatch.errors import SettingsError
from replibatch.exports.rows import Row, rows
from replibatch.gallery.results_lines import Line
from replibatch.storage.atomic import staged

Lines = Callable[[], Iterable[Line]]  # the results, from the first, each time it is called

ROW_GROUP = 5_000


def write_csv(lines: Lines, destination: Path) -> int:
    """Write a table with a row for each file; returns how many rows.

    Args:
        lines: the results; read twice, as the columns come from all rows.
        destination: the file, written whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    columns = _columns(lines)
    count = 0
    with staged(destination) as stage:
        with stage.path.open("x", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, columns, restval="")
            table.writeheader()
            for row in _all(lines):
                table.writerow({name: _cell(value) for name, value in row.items()})
                count += 1
        stage.commit()
    return count


def write_parquet(lines: Lines, destination: Path) -> int:
    """Write a table with a row for each file; returns how many rows. Columns of several types are JSON texts.

    Args:
        lines: the results; read twice.
        destination: the file, written whole or not at all.

    Raises:
        SettingsError: the extra is not installed.
        OSError: it cannot be written.
    """
    try:
        import pyarrow  # noqa: PLC0415  # an extra
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError:
        raise SettingsError("Parquet needs pyarrow; expected: pip install 'replibatch[parquet]'") from None
    types = {bool: pyarrow.bool_(), int: pyarrow.int64(), float: pyarrow.float64(), str: pyarrow.string()}
    columns = _columns(lines)
    schema = pyarrow.schema([(name, types.get(kind or str, pyarrow.string())) for name, kind in columns.items()])
    count = 0
    with staged(destination) as stage:
        with pyarrow.parquet.ParquetWriter(stage.path, schema) as writer:
            for group in _groups(_all(lines)):
                values = [{name: _typed(row.get(name), kind) for name, kind in columns.items()} for row in group]
                writer.write_table(pyarrow.Table.from_pylist(values, schema))
                count += len(group)
        stage.commit()
    return count


def _all(lines: Lines) -> Iterator[Row]:
    for line in lines():
        yield from rows(line)


def _groups(found: Iterator[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    for row in found:
        group.append(row)
        if len(group) == ROW_GROUP:
            yield group
            group = []
    if group:
        yield group


def _columns(lines: Lines) -> dict[str, type | None]:
    """The columns of all rows, each with the type that holds its values; None for several types."""
    kinds: dict[str, set[type]] = {}
    for row in _all(lines):
        for name, value in row.items():
            found = kinds.setdefault(name, set())
            if value is not None:
                large = isinstance(value, int) and not -(1 << 63) <= value < 1 << 63
                found.add(object if large else type(value))
    return {name: _one(found) for name, found in kinds.items()}


def _one(found: set[type]) -> type | None:
    if found == {int, float}:
        return float
    return next(iter(found)) if len(found) == 1 else str if not found else None


def _typed(value: Any, kind: type | None) -> Any:
    if value is None or kind is str:
        return value
    return kind(value) if kind in (bool, int, float) else json.dumps(value, ensure_ascii=False)


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict | bool) else value
