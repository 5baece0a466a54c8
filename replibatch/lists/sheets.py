"""Tables with types: `.xlsx` and `.parquet`, read by libraries of their own extras."""

from __future__ import annotations

import base64
import datetime
import decimal
import math
import re
import zipfile
from collections.abc import Iterator
from typing import IO, Any

from replibatch.errors import SettingsError
from replibatch.lists.lines import Line, Read, Unreadable
from replibatch.lists.table import Row

ROWS_AT_ONCE = 1000
CHUNK_BYTES = 1 << 20
LONGEST_FORMULA_BYTES = 16 << 10  # Excel takes 8,192 characters
_SHEET = re.compile(r"xl/worksheets/[^/]+\.xml")
_WITHOUT_VALUE = re.compile(rb'<c r="([A-Z]{1,3}\d+)"[^>]*>\s*<f[^>]*(?:/>|>[^<]*</f>)\s*(?:<v\s*/>|<v>\s*</v>|</c>)')
MOMENTS = (datetime.date, datetime.time, datetime.timedelta)
PICTURES = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"), (b"RIFF", "webp"))


def workbook_rows(file: IO[bytes]) -> Iterator[Row]:
    """The rows of the one sheet of an Excel file that has any.

    Raises:
        SettingsError: the extra is not installed.
        Unreadable: it is no Excel file, or several of its sheets have rows.
    """
    try:
        from openpyxl import load_workbook  # type: ignore[import-untyped]  # noqa: PLC0415  # an extra
    except ModuleNotFoundError:
        raise SettingsError("reading .xlsx needs openpyxl; type: pip install 'replibatch[xlsx]'") from None
    try:
        book = load_workbook(file, read_only=True, data_only=True)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise Unreadable(f"this is no Excel file ({error})") from None
    _refuse_formulas_without_values(file)
    try:
        filled = [sheet for sheet in book.worksheets if any(any(row) for row in sheet.iter_rows(values_only=True))]
        if len(filled) > 1:
            names = ", ".join(repr(sheet.title) for sheet in filled)
            raise Unreadable(f"{len(filled)} sheets have rows ({names}); expected: one; save the one you mean alone")
        for sheet in filled:
            for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
                cells = [_plain(cell) for cell in row]
                while cells and cells[-1] is None:
                    cells.pop()
                if cells:
                    yield number, ["" if cell is None else cell for cell in cells]
    finally:
        book.close()


def _refuse_formulas_without_values(file: IO[bytes]) -> None:
    """Refuse a workbook whose formulas nobody has worked out: their cells would be read as empty.

    Raises:
        Unreadable: it has one, as programs write them.
    """
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            if not _SHEET.fullmatch(name):
                continue
            with archive.open(name) as sheet:
                kept = b""
                while chunk := sheet.read(CHUNK_BYTES):
                    if found := _WITHOUT_VALUE.search(kept + chunk):
                        raise Unreadable(
                            f"the cell {found[1].decode()} is a formula without its value, as programs save them; "
                            "expected: the file opened and saved in Excel or LibreOffice"
                        )
                    kept = chunk[-LONGEST_FORMULA_BYTES:]


def parquet_lines(file: IO[bytes], name: str) -> Read:
    """The rows of a Parquet file.

    Raises:
        SettingsError: the extra is not installed.
        Unreadable: it is none.
    """
    try:
        import pyarrow  # noqa: PLC0415  # an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ModuleNotFoundError:
        raise SettingsError("reading .parquet needs pyarrow; type: pip install 'replibatch[parquet]'") from None
    try:
        table = parquet.ParquetFile(file)
        number = 0
        for batch in table.iter_batches(batch_size=ROWS_AT_ONCE):
            for row in batch.to_pylist():
                number += 1
                fields = {key: found for key, cell in row.items() if (found := _plain(cell)) not in (None, "")}
                if fields:
                    yield Line(name, number, fields)
    except (pyarrow.ArrowException, OSError) as error:
        raise Unreadable(f"this is no Parquet file ({str(error).splitlines()[0]})") from None


def _plain(cell: Any) -> Any:
    """A cell as JSON has it."""
    match cell:
        case dict() if set(cell) == {"bytes", "path"}:  # a picture as Hugging Face's datasets keep it
            return _plain(cell["bytes"]) if cell["bytes"] else cell["path"]
        case dict():
            return {key: _plain(each) for key, each in cell.items()}
        case list():
            return [_plain(each) for each in cell]
        case float() | decimal.Decimal():
            return _number(float(cell))
        case bytes():
            return _data_uri(cell)
    return _moment(cell) if isinstance(cell, MOMENTS) else cell.strip() if isinstance(cell, str) else cell


def _number(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    return int(value) if value == int(value) else value


def _moment(value: Any) -> str:
    if isinstance(value, datetime.time):  # which Excel makes of 16:9
        return value.strftime("%H:%M:%S" if value.second else "%H:%M")
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        value = value.date()
    return str(value) if isinstance(value, datetime.timedelta) else str(value.isoformat())


def _data_uri(content: bytes) -> str | None:
    """A picture as it can be sent; None for any other bytes."""
    kind = next((kind for magic, kind in PICTURES if content.startswith(magic)), None)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}" if kind else None
