"""`results --to`: the results of a batch, or of a run's folder, in a form that other tools read."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from replibatch.cli.errors import MISUSED, Failure
from replibatch.cli.formatting import count
from replibatch.cli.run.folder import RESULTS
from replibatch.exports import write_csv, write_imagefolder, write_parquet, write_webdataset
from replibatch.gallery.contact_sheet import write_contact_sheets
from replibatch.gallery.results_lines import Line, ResultLines

FORMATS = ("csv", "parquet", "webdataset", "imagefolder", "contact-sheet")


def export_folder(folder: Path, destination: Path, form: str) -> str:
    """Write what a run's folder has in another form; returns what to say.

    Raises:
        Failure: the folder is no run's.
        SettingsError: the form needs an extra that is not installed.
        OSError: a file cannot be read or written.
    """
    results = folder / RESULTS
    if not results.is_file():
        raise Failure(f"{folder} has no {RESULTS}; expected: the folder of a run, or a batch's id", MISUSED)
    if form in ("webdataset", "imagefolder") and destination.absolute() == folder.absolute():
        raise Failure(f"--to {form} needs -o; expected: a folder for the data set", MISUSED)
    return _export(results, folder, destination, form, folder.absolute().name)


def export_batch(lines: Callable[[Path], Iterator[str]], destination: Path, form: str, title: str) -> str:
    """Write the results of a batch in another form; returns what to say.

    Args:
        lines: called with a folder, copies the files there and gives the results as lines of a results file.
        destination: the folder to write into.
        form: one of `FORMATS`.
        title: of contact sheets.

    Raises:
        SettingsError, OSError: as `export_folder`.
    """
    destination.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=destination) as folder:
        results = Path(folder, RESULTS)
        with results.open("x", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines(Path(folder)))
        return _export(results, Path(folder), destination, form, title)


def _export(results: Path, folder: Path, destination: Path, form: str, title: str) -> str:
    with ResultLines(results) as found:

        def lines() -> Iterator[Line]:
            return iter(found)

        match form:
            case "csv":
                rows = write_csv(lines, table := destination / "results.csv")
                return f"{table}: {count(rows, 'row')}"
            case "parquet":
                rows = write_parquet(lines, table := destination / "results.parquet")
                return f"{table}: {count(rows, 'row')}"
            case "webdataset":
                return f"{destination}: {count(write_webdataset(lines(), folder, destination), 'picture')}"
            case "imagefolder":
                return f"{destination}: {count(write_imagefolder(lines(), folder, destination), 'picture')}"
        sheets = write_contact_sheets(lines(), folder, destination / "contact-sheet.jpg", title)
        return "\n".join(map(str, sheets))
