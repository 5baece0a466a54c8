"""The files of a list as bytes and text: opened again for each reading, unpacked, in their encoding."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from replibatch.errors import RequestError
from replibatch.lists.lines import Unreadable

STDIN = "-"
HEAD_BYTES = 64 * 1024
LONGEST_LINE = 8 << 20  # bytes, or characters
SPOOLED_BYTES = 8 << 20  # of a piped list, before it goes to a temporary file
GZIP = b"\x1f\x8b"
MARKS = (  # the longer ones first: that of UTF-32 begins as that of UTF-16 does
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
NAMES = {"utf-8": "UTF-8", "utf-16": "UTF-16", "utf-32": "UTF-32"}
BINARY = (
    (b"\xd0\xcf\x11\xe0", "an Excel file of the old form; save it as .xlsx or CSV UTF-8"),
    (b"%PDF", "a PDF"),
    (b"{\\rtf", "an RTF file, as TextEdit and WordPad write it; save it as plain text"),
    (b"\x89PNG", "a picture; for a folder of pictures: --image-input NAME"),
    (b"\xff\xd8\xff", "a picture; for a folder of pictures: --image-input NAME"),
    (b"BZh", "packed with bzip2; unpack it, or pack it with gzip"),
    (b"\xfd7zXZ", "packed with xz; unpack it, or pack it with gzip"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd; unpack it, or pack it with gzip"),
    (b"7z\xbc\xaf", "an archive; unpack it"),
    (b"SQLite format 3", "a database; export a table as CSV"),
    (b"ARROW1", "an Arrow file; save it as .parquet"),
)
_WORD = re.compile(r"\w*[^\x00-\x7f]\w*")


@dataclass
class Source:
    """One file of a list.

    Attributes:
        name: for people.
        path: the file or folder; None for standard input.
        folder: where relative paths in it start.
        copy: of what came through a pipe, to be read again.
    """

    name: str
    path: Path | None
    folder: Path
    copy: IO[bytes] | None = None

    @property
    def extension(self) -> str:
        """Of the name, in lower case with its dot, without `.gz`."""
        if self.path is None:
            return ""
        path = self.path.with_suffix("") if self.path.suffix.lower() == ".gz" else self.path
        return path.suffix.lower()

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Its bytes from the beginning, unpacked.

        Raises:
            RequestError: it cannot be opened.
        """
        with ExitStack() as stack:
            if self.copy is not None:
                file = self.copy
                file.seek(0)
            else:
                file = stack.enter_context(_open(self.path or Path(self.name)))
            packed = file.read(len(GZIP)) == GZIP
            file.seek(0)
            if packed:
                file = cast("IO[bytes]", stack.enter_context(gzip.GzipFile(fileobj=file)))
            yield file

    def head(self) -> bytes:
        """Its first bytes, unpacked."""
        with self.opened() as file:
            try:
                return file.read(HEAD_BYTES)
            except (EOFError, OSError, zlib.error) as error:
                raise Unreadable(f"not readable as gzip ({error})") from None


@contextmanager
def sources(files: Sequence[str]) -> Iterator[list[Source]]:
    """The files of a list, each readable more than once as long as the `with` block lasts.

    Args:
        files: paths, folders too; `-` is standard input.

    Raises:
        RequestError: one is not there, or given twice.
    """
    found: list[Source] = []
    with ExitStack() as stack:
        for name in files:
            if name in (each.name for each in found):
                raise RequestError(f"{name} is given twice; expected: each list once")
            path = None if name == STDIN else Path(name)
            if path is not None and not path.exists():
                raise RequestError(f"{name}: no such file")
            source = Source(name, path, Path.cwd())
            if path is None:
                source.name = "standard input"
            elif not path.is_fifo():
                source.folder = path.absolute() if path.is_dir() else path.absolute().parent
            if path is None or path.is_fifo():
                source.copy = stack.enter_context(tempfile.SpooledTemporaryFile(max_size=SPOOLED_BYTES))
                with _open(path) if path else _stdin() as piped:
                    shutil.copyfileobj(piped, source.copy)
            found.append(source)
        yield found


def encoding_of(head: bytes, given: str | None) -> str:
    """The encoding of a text by its mark; UTF-8 without one.

    Args:
        head: its first bytes.
        given: `--encoding`.

    Raises:
        Unreadable: it is no text, or of an encoding that has to be named.
    """
    for magic, what in BINARY:
        if head.startswith(magic):
            raise Unreadable(f"this is {what}")
    if given:
        return given
    for mark, encoding in MARKS:
        if head.startswith(mark):
            return encoding
    if b"\0" in head:
        even, odd = head[::2].count(0), head[1::2].count(0)
        if max(even, odd) > len(head) / 8:
            name = "utf-16-le" if odd > even else "utf-16-be"
            raise Unreadable(f"this looks like UTF-16 without its mark; type --encoding {name}")
        raise Unreadable("this is not text (it has NUL bytes); expected: a text, CSV, JSON, .xlsx or .parquet file")
    return "utf-8"


def check_encoding(given: str | None) -> None:
    """Refuse the name of an encoding that Python does not have.

    Raises:
        RequestError: it does not.
    """
    if given is None:
        return
    try:
        b"".decode(given)
        codecs.lookup(given)
    except (LookupError, ValueError, UnicodeError):
        raise RequestError(
            f"--encoding is {given!r}; expected: a text encoding, as in cp1252, utf-16-le, shift_jis"
        ) from None


def lines_of(file: IO[bytes], encoding: str) -> Iterator[tuple[int, str]]:
    """The lines of a text, numbered from 1, with their ends.

    Raises:
        Unreadable: bytes that are not of this encoding, or a line without an end.
    """
    head = file.read(HEAD_BYTES)
    file.seek(0)
    ascii_like = not encoding.lower().replace("_", "-").startswith(("utf-16", "utf-32", "utf-7"))
    number = 0
    try:
        if ascii_like and not (b"\r" in head and b"\n" not in head):
            while raw := file.readline(LONGEST_LINE + 1):
                number += 1
                if len(raw) > LONGEST_LINE:
                    raise Unreadable(f"a line longer than {LONGEST_LINE >> 20} MiB", number)
                yield number, raw.decode("utf-8-sig" if number == 1 and encoding == "utf-8" else encoding)
            return
        text = io.TextIOWrapper(file, encoding=encoding, newline=None)
        try:
            while line := text.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise Unreadable(f"a line longer than {LONGEST_LINE >> 20} MiB", number)
                yield number, line.removeprefix("\ufeff") if number == 1 else line
        finally:
            text.detach()
    except UnicodeDecodeError as error:
        raise not_in(encoding, error, number) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Unreadable(f"the packed file is damaged or cut short ({error})", number + 1) from None


def not_in(encoding: str, error: UnicodeDecodeError, number: int) -> Unreadable:
    """What to say of bytes that are not of an encoding."""
    what = NAMES.get(encoding, encoding)
    if what != "UTF-8":
        return Unreadable(f"this is not {what} ({error.reason}); expected: another --encoding", number)
    raw = bytes(error.object)
    around = raw[max(0, error.start - 20) : error.end + 20].decode("cp1252", "replace")
    word = _WORD.search(around)
    byte = raw[error.start]
    return Unreadable(
        f"byte 0x{byte:02x} is not UTF-8; what Excel saves as plain CSV on Windows reads with --encoding cp1252 "
        f"(here: {word[0] if word else around!r}); or save it as 'CSV UTF-8'",
        number,
    )


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise RequestError(f"{path}: cannot be read ({error.strerror})") from None


@contextmanager
def _stdin() -> Iterator[IO[bytes]]:
    yield sys.stdin.buffer
