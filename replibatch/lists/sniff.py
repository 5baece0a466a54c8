"""The format of a list: by its content, and by its name where the content leaves it open."""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from replibatch.lists.lines import Unreadable
from replibatch.lists.paragraphs import check, joined, refuse_labels
from replibatch.lists.words import PROMPTS
from replibatch.routing.near import plain

Kind = Literal["txt", "csv", "json", "jsonl", "markdown", "xlsx", "parquet"]

EXTENSIONS: dict[str, Kind] = {
    ".txt": "txt",
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".parquet": "parquet",
}
WRITTEN = {"txt": "text, a prompt a line", "jsonl": "JSON lines", "json": "JSON", "markdown": "a Markdown table"}
REFUSED = {
    ".yaml": "YAML",
    ".yml": "YAML",
    ".toml": "TOML",
    ".xml": "XML",
    ".html": "HTML",
    ".htm": "HTML",
    ".py": "Python",
    ".docx": "a Word file",
    ".pdf": "a PDF",
    ".xls": "an Excel file of the old form",
    ".zip": "an archive",
    ".feather": "an Arrow file",
    ".sqlite": "a database",
    ".ods": "an OpenDocument table",
    ".numbers": "a Numbers table",
    ".pkl": "a pickle, which is never opened",
    ".npy": "a NumPy file",
}
ESCAPE = "; or --format txt, where each line is a prompt as it is"
READABLE = "expected: .txt, .csv, .tsv, .json, .jsonl, .xlsx, .parquet, or a folder"
DELIMITERS = ",;\t|"
DELIMITER_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
SAMPLE_LINES = 50
MARKERS = {
    re.compile(r"\(?(\d{1,9})(?:[.):]\s+|[.)](?=[^\W\d])|\s+[-\u2013]\s+)"): ", numbered",
    re.compile(r"([\u2460-\u2473])\s*"): ", numbered",
    re.compile(r"\(?([A-Za-z])[.)]\s+"): ", lettered",
    re.compile(r"([-*\u2022·▪◦‣\u2013>+])\s+(?:\[[ xX]\]\s+)?"): ", with bullets",
    re.compile(
        r"\**(prompt)(?:\s*#?\d+)?\s*(?:\*\*:|:\*\*|:|[.\u2013-]\s)\s*", re.IGNORECASE
    ): ", each after 'prompt:'",
}
LONGEST_NAME = 40  # characters of a column's name, where a header could be a prompt

_JSON_LIST = re.compile(r'\[\s*[\[{"\]]')
_JSON_OBJECT = re.compile(r'\{\s*["}]')
_RULE = re.compile(r"\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*")
_QUOTED_ELEMENT = re.compile(r"""\s*(["']).*\1,\s*""")
_PYTHON_LIST = re.compile(
    r"\s*((?:const|let|var|final)?\s*[A-Za-z_]\w*(?:\s*:\s*[\w\[\]<>]+)?\s*=\s*[\[{].*|\[\s*['\u2018\u201c].*|\[\s*|\{\s*['\u2018\u201c]\w+['\u2019\u201d]\s*:.*)"
)
_ENTITY = re.compile(r"&#?\w{2,8};")
_SETTING = re.compile(r"\s*(\[+[\w.\"-]+\]+|[\w.-]+\s*=\s*([\"'\[{]|[\d.]+|true|false).*)\s*")
_MARKUP = re.compile(r"\s*<(\?xml|!doctype|html|table|svg)", re.IGNORECASE)
_YAML = re.compile(r"\s*- prompt:|---\s*$|prompts?:\s*($|\|)")


@dataclass(frozen=True)
class Format:
    """How a list is to be read.

    Attributes:
        kind: which reader.
        delimiter: between the cells of a table.
        marker: what each line of a text begins with, and is no part of the prompt.
        paragraphs: whether a prompt of a text goes on to the next blank line.
        note: what to say of it before the run; None for nothing.
    """

    kind: Kind
    delimiter: str = ","
    marker: re.Pattern[str] | None = None
    paragraphs: bool = False
    note: str | None = None

    def __str__(self) -> str:
        if self.kind == "csv":
            return "TSV" if self.delimiter == "\t" else f"CSV, {DELIMITER_NAMES[self.delimiter]}s"
        marked = MARKERS[self.marker] if self.marker else ""
        written = "text, a prompt a paragraph" if self.paragraphs else WRITTEN.get(self.kind, self.kind)
        return f"{written}{marked}"


def format_of(
    head: str, *, extension: str, whole: bool, given: Kind | None = None, paragraphs: bool = False
) -> Format:
    """The format of a text.

    Args:
        head: its beginning.
        extension: of its name, in lower case with the dot; empty where it has none.
        whole: whether `head` is the whole text.
        given: `--format`.
        paragraphs: `--paragraphs`.

    Raises:
        Unreadable: it is none that can be read.
    """
    if extension in REFUSED and given is None:
        raise Unreadable(f"this is {REFUSED[extension]}; {READABLE}")
    all_lines = head.splitlines()[: None if whole else -1]
    lines = [line for line in all_lines if line.strip()][:SAMPLE_LINES]
    lines = lines or [head]
    named = given or EXTENSIONS.get(extension)
    if given == "txt" and not paragraphs:
        return Format("txt")
    if given != "csv" and _is_json(head.lstrip("\ufeff \t\r\n"), lines, named):
        return Format(_json_kind(lines, named))
    if lines[0].lstrip().startswith(("```", "~~~")):
        raise Unreadable("this begins with a code fence; expected: the lines inside it alone", 1)
    if named in ("json", "jsonl"):
        begins = lines[0].strip()[:30]
        raise Unreadable(
            f"this is not JSON: it begins with {begins!r}; expected: [ or {{, and straight double quotes", 1
        )
    found = _table_or_text(lines, named, extension, given)
    if found.kind != "txt":
        return found
    if given is None:
        refuse_labels(all_lines)
    if paragraphs:
        whole_ones = [text for _, text in joined(enumerate(all_lines, 1))][:SAMPLE_LINES]
        return Format("txt", marker=_marker(whole_ones), paragraphs=True)
    _refuse_lookalikes(lines)
    if found.marker is None:
        _refuse_partly_marked(lines)
        return replace(found, note=check(all_lines))
    return found


def _table_or_text(lines: list[str], named: Kind | None, extension: str, given: Kind | None) -> Format:
    if given is None and len(lines) > 1 and "|" in lines[0] and "-" in lines[1] and _RULE.fullmatch(lines[1]):
        return Format("markdown", "|")
    delimiter = _named_separator(lines[0]) or _header_delimiter(lines[0])
    if delimiter or named == "csv":
        return Format("csv", delimiter or _delimiter(lines[0], extension))
    if extension in (".md", ".markdown"):
        if any("|" in above and "-" in rule and _RULE.fullmatch(rule) for above, rule in pairwise(lines)):
            raise Unreadable("text above the table; expected: the table alone", 1)
        raise Unreadable(
            f"this is Markdown without a table; {READABLE}; or --format txt, where each line is a prompt", 1
        )
    return Format("txt", marker=_marker(lines))


def _marker(lines: list[str]) -> re.Pattern[str] | None:
    """What numbers or marks every line of a text; None where that is not so."""
    if len(lines) > 1:
        for marker in MARKERS:
            found = [marker.match(line.strip()) for line in lines]
            numbers = [match[1] for match in found if match]
            if len(numbers) == len(lines) and _counts(numbers):
                return marker
    return None


def _counts(marks: list[str]) -> bool:
    """Whether numbers or letters go up, or begin again; marks that are neither may be any."""
    if not marks[0].isalnum() or (len(marks[0]) > 1 and marks[0].isalpha()):
        return True
    places = [_place(each) for each in marks]
    return all(below > above or below == places[0] for above, below in pairwise(places))


def _place(mark: str) -> float:
    """The place in a list that a mark stands for: a number, also in a circle, or a letter."""
    if mark.isdecimal():
        return int(mark)
    return unicodedata.numeric(mark) if mark.isnumeric() else float(ord(mark))


def _refuse_partly_marked(lines: list[str]) -> None:
    """Refuse a text in which some lines are numbered or marked, and others are titles or the rest of a prompt.

    Raises:
        Unreadable: it is one.
    """
    for marker in MARKERS:
        found = [marker.match(line.strip()) for line in lines]
        numbers = [match[1] for match in found if match]
        if len(numbers) < 2 or len(numbers) == len(lines) or not _counts(numbers):
            continue
        marked = next(line for line, match in zip(lines, found, strict=True) if match)
        bare = next(line for line, match in zip(lines, found, strict=True) if not match)
        raise Unreadable(
            f"some lines begin as {marked.strip()[:20]!r} does, and others do not, as {bare.strip()[:30]!r}; "
            "expected: prompts alone, each with its mark; --paragraphs, where blank lines divide the prompts"
            f"{ESCAPE}"
        )


def _named_separator(first: str) -> str | None:
    """What Excel's own first line says: `sep=;`."""
    word = first.strip().strip('"')
    return word[4:] if word.lower().startswith("sep=") and len(word) == 5 else None


def _is_json(text: str, lines: list[str], named: Kind | None) -> bool:
    if _JSON_LIST.match(text) or _JSON_OBJECT.match(text):
        return True
    return named != "csv" and text.startswith('"') and all(isinstance(_parsed(line), str) for line in lines)


def _json_kind(lines: list[str], named: Kind | None) -> Literal["json", "jsonl"]:
    """Whether each line is an element, or the text is one document."""
    if lines[0].rstrip().endswith(",") and isinstance(_parsed(lines[0].rstrip()[:-1]), dict | str):
        raise Unreadable("each line is JSON and a comma, a list without its brackets; expected: [ and ] around it", 1)
    if len(lines) == 1 and isinstance(_parsed(lines[0]), str):
        return "jsonl"
    if len(lines) == 1:
        return "jsonl" if named == "jsonl" and _parsed(lines[0]) is not None else "json"
    first, second = _parsed(lines[0]), _parsed(lines[1])
    if isinstance(first, dict | str) and lines[1].lstrip()[:1] in ("{", '"'):
        return "jsonl"
    return "jsonl" if named == "jsonl" and isinstance(second, dict) else "json"


def _parsed(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def cells_of(line: str, delimiter: str) -> list[str]:
    """The cells of one line of a table."""
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]
    except csv.Error:
        return [cell.strip() for cell in line.split(delimiter)]


def _header_delimiter(line: str) -> str | None:
    """What sets the names of a header apart that has a column for the prompt; None where the line is no header."""
    for delimiter in DELIMITERS:
        cells = cells_of(line.lstrip("\ufeff"), delimiter)
        short = all(len(cell) <= LONGEST_NAME for cell in cells)
        if short and len(cells) > 1 and any(plain(cell) in PROMPTS for cell in cells):
            return delimiter
    return "," if plain(line.lstrip("\ufeff").strip().strip('"')) in ("prompt", "prompts") else None


def _delimiter(header: str, extension: str) -> str:
    """The delimiter of a table without a column for the prompt: by its name, or the most frequent."""
    if extension in (".tsv", ".tab"):
        return "\t"
    return max(DELIMITERS, key=lambda delimiter: (len(cells_of(header, delimiter)), delimiter == ","))


def _refuse_lookalikes(lines: list[str]) -> None:
    """Refuse what would be paid for line by line, and is no list of prompts.

    Raises:
        Unreadable: it is none.
    """
    if _MARKUP.match(lines[0]):
        raise Unreadable(f"this is HTML or XML; {READABLE}{ESCAPE}", 1)
    if _YAML.match(lines[0]):
        raise Unreadable(f"this looks like YAML; {READABLE}{ESCAPE}", 1)
    if _PYTHON_LIST.fullmatch(lines[0]) and (len(lines) > 1 or lines[0].rstrip().endswith("]")):
        raise Unreadable(
            f"this looks like a list written in Python or JavaScript; expected: JSON, as json.dump writes it{ESCAPE}",
            1,
        )
    if len(lines) > 1 and all(_SETTING.fullmatch(line) for line in lines):
        raise Unreadable(f"this looks like TOML or INI; {READABLE}{ESCAPE}", 1)
    if len(lines) > 1 and all(_QUOTED_ELEMENT.fullmatch(line) for line in lines[:-1]):
        raise Unreadable(
            f"each line is a quoted text and a comma, a list without its brackets; expected: JSON{ESCAPE}", 1
        )
    for delimiter in "\t;|,":
        counts = [_ENTITY.sub("", line).count(delimiter) for line in lines]
        if len(lines) < 2 or not counts[0] or any(one != other for one, other in pairwise(counts)):
            continue
        if delimiter in ",;" and any(f"{delimiter} " in line for line in lines):
            continue  # prompts have commas, and semicolons
        if delimiter == "," and counts[0] < 2:
            continue
        columns = ", ".join(cells_of(lines[0], delimiter)[:6])
        raise Unreadable(
            f"this looks like a table of {counts[0] + 1} columns ({DELIMITER_NAMES[delimiter]}s) without a column "
            f"'prompt'; its first line: {columns}; expected: a header, and --format csv --map prompt=COLUMN{ESCAPE}",
            1,
        )
