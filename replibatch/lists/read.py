"""Any source as lines with their place."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from replibatch.lists.folders import folder_lines, left_out
from replibatch.lists.json_lists import json_document, json_lines
from replibatch.lists.lines import Mistake, Read, Unreadable
from replibatch.lists.paragraphs import joined
from replibatch.lists.records import Records
from replibatch.lists.sheets import parquet_lines, workbook_rows
from replibatch.lists.sniff import EXTENSIONS, Format, Kind, format_of
from replibatch.lists.source import HEAD_BYTES, NAMES, Source, encoding_of, lines_of
from replibatch.lists.table import csv_rows, markdown_rows, table_lines
from replibatch.lists.text import prompts

ZIP, PARQUET = b"PK\x03\x04", b"PAR1"


@dataclass(frozen=True)
class ReadOptions:
    """How lists are to be read, where they do not say it themselves.

    Attributes:
        kind: `--format`.
        encoding: `--encoding`.
        comments: `--comments`.
        image_input: `--image-input`.
        literal: `--as-is`.
        paragraphs: `--paragraphs`.
    """

    kind: Kind | None = None
    encoding: str | None = None
    comments: str | None = None
    image_input: str | None = None
    literal: bool = False
    paragraphs: bool = False


class ListFile:
    """One file of a list, in a known format.

    Args:
        source: the file.
        options: how to read it.

    Attributes:
        written: the format, for people.
        encoding: the encoding, for people; None where there is none.
        note: what may not be meant, for people; None for nothing.
        has_columns: whether its lines have names for what they hold.

    Raises:
        Unreadable: it is no list.
    """

    def __init__(self, source: Source, options: ReadOptions) -> None:
        self.source = source
        self._options = options
        self._records = Records()
        self.encoding: str | None = None
        self.note: str | None = None
        self._codec = "utf-8"
        if source.path is not None and source.path.is_dir():
            self.written = "a folder of pictures" if options.image_input else "a folder of texts"
            self.has_columns = True
            self.note = left_out(source.path, image_input=options.image_input)
            return
        head = source.head()
        self._format = self._found(head)
        self.written = str(self._format)
        self.note = self._format.note
        self.has_columns = self._format.kind != "txt"
        if head and self._format.kind not in ("xlsx", "parquet"):
            self.encoding = NAMES.get(self._codec, self._codec)

    @property
    def forms(self) -> list[str]:
        """The forms of other tools that its records have; known once it has been read."""
        return sorted(self._records.forms)

    @property
    def beside(self) -> list[str]:
        """The names of what its document holds beside the list; known once it has been read."""
        return list(dict.fromkeys(self._records.beside))

    def settle(self) -> None:
        """After a first pass: of our own results, only the newest of each item counts."""
        self._records.settle()

    def close(self) -> None:
        """Leave nothing behind."""
        self._records.close()

    def lines(self) -> Read:
        """Its lines, read from the beginning; it goes on after a mistake where it can."""
        try:
            yield from self._lines()
        except Unreadable as error:
            yield Mistake(self.source.name, error.number, str(error))

    def _found(self, head: bytes) -> Format:
        kind = self._options.kind or EXTENSIONS.get(self.source.extension)
        if head.startswith(PARQUET):
            return Format("parquet")
        if head.startswith(ZIP):
            return self._zipped()
        if kind in ("xlsx", "parquet") and head:
            raise Unreadable(f"this is no .{kind} file; expected: the name that fits what it holds")
        self._codec = encoding_of(head, self._options.encoding)
        text = head.decode(self._codec, "replace").removeprefix("\ufeff")
        whole = len(head) < HEAD_BYTES
        if not text.strip():
            return Format("txt")
        options = self._options
        return format_of(
            text, extension=self.source.extension, whole=whole, given=options.kind, paragraphs=options.paragraphs
        )

    def _zipped(self) -> Format:
        with self.source.opened() as file:
            try:
                names = zipfile.ZipFile(file).namelist()
            except zipfile.BadZipFile as error:
                raise Unreadable(f"a damaged zip file ({error})") from None
        if "xl/workbook.xml" in names:
            return Format("xlsx")
        raise Unreadable("this is a zip file; expected: its files, unpacked")

    @contextmanager
    def _numbered(self) -> Iterator[Iterator[tuple[int, str]]]:
        with self.source.opened() as file:
            yield lines_of(file, self._codec)

    def _reopened(self) -> Iterator[tuple[int, str]]:
        with self._numbered() as numbered:
            yield from numbered

    def _lines(self) -> Read:
        name, options = self.source.name, self._options
        if self.source.path is not None and self.source.path.is_dir():
            yield from folder_lines(
                self.source.path, name, image_input=options.image_input, encoding=options.encoding
            )
            return
        match self._format.kind:
            case "txt":
                yield from prompts(
                    joined(self._reopened(), options.comments) if self._format.paragraphs else self._reopened(),
                    name,
                    comments=options.comments,
                    marker=self._format.marker,
                    literal=options.literal,
                )
            case "csv":
                rows = csv_rows(self._reopened, self._format.delimiter, options.comments)
                yield from table_lines(rows, name)
            case "markdown":
                yield from table_lines(markdown_rows(self._reopened()), name)
            case "jsonl":
                yield from json_lines(self._reopened(), name, self._records, options.comments)
            case "json":
                yield from json_document(self.source.opened, self._codec, name, self._records)
            case "xlsx":
                with self._seekable() as file:
                    yield from table_lines(workbook_rows(file), name)
            case "parquet":
                with self._seekable() as file:
                    yield from parquet_lines(file, name)

    @contextmanager
    def _seekable(self) -> Iterator[IO[bytes]]:
        with self.source.opened() as file:
            yield file


csv.field_size_limit(1 << 23)  # of a cell with a data URI; the module's own limit is 128 KiB
