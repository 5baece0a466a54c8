"""Tables with types: `.xlsx` and `.parquet`, read by libraries of their own extras."""

from __future__ import annotations

import base64
import datetime
import decimal
import math
import zipfile
from collections.abc import Iterator
from typing import IO, Any

from replibatch.errors import SettingsError
from replibatch.lists.lines import Line, Read, Unreadable
from replibatch.lists.table import Row

ROWS_AT_ONCE = 1000
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


def parquet_lines(file: IO[bytes], name: str) -> Read:
    """The rows of a Parquet file.

    Raises:
        SettingsError: the extra is not installed.
        Unreadable: it is none.
    """
    try:
        import pyarrow  # type: ignore[import-untyped]  # noqa: PLC0415  # an extra
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
        case float() if not math.isfinite(cell):
            return None
        case float() if cell == int(cell):
            return int(cell)
        case datetime.time():
            return cell.strftime("%H:%M:%S") if cell.second else cell.strftime("%H:%M")
        case datetime.datetime() if cell.time() == datetime.time():
            return cell.date().isoformat()
        case datetime.datetime() | datetime.date():
            return cell.isoformat()
        case datetime.timedelta():
            return str(cell)
        case decimal.Decimal():
            return _plain(float(cell))
        case bytes():
            kind = next((kind for magic, kind in PICTURES if cell.startswith(magic)), None)
            return f"data:image/{kind};base64,{base64.b64encode(cell).decode()}" if kind else None
        case str():
            return cell.strip()
        case dict() if set(cell) == {"bytes", "path"}:  # a picture as Hugging Face's datasets keep it
            return _plain(cell["bytes"]) if cell["bytes"] else cell["path"]
        case dict():
            return {key: _plain(each) for key, each in cell.items()}
        case list():
            return [_plain(each) for each in cell]
    return cell
