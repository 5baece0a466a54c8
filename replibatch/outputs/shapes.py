"""What a finished prediction's `output` can be, as a list of parts to save."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from replibatch.catalog import Model
from replibatch.data_uris import decoded, is_data_uri
from replibatch.errors import NoOutput

MOST_FILES = 1000  # of one output
MOST_DEPTH = 100


@dataclass(frozen=True)
class UrlPart:
    """A file behind an `http:` or `https:` address.

    Attributes:
        url: its address.
        is_issued: whether it is declared as a file's, so that the API gave it out; others may be what a model wrote.
    """

    url: str
    is_issued: bool = False


@dataclass(frozen=True)
class DataPart:
    """A file inside the output itself, as a `data:` URI."""

    uri: str

    def chunks(self) -> Iterator[bytes]:
        """The decoded bytes, a piece at a time.

        Raises:
            NoOutput: it is malformed, so there is nothing to save.
        """
        try:
            yield from decoded(self.uri)
        except ValueError as error:
            raise NoOutput(f"the output is a malformed data: URI: {error}") from error


@dataclass(frozen=True)
class TextPart:
    """A text, to be written as UTF-8."""

    text: str


Part = UrlPart | DataPart | TextPart
Path = tuple[str, ...]  # names of objects, and `*` for each of a list


@dataclass(frozen=True)
class Declared:
    """A model's declaration of its output.

    Attributes:
        kind: what the files are: an image, a video …; empty if undeclared.
        is_text: whether the whole output is text, so that an address in it is text too.
        is_lines: whether texts of a list are each its own, not pieces of one.
        is_files: whether the whole output is files, with addresses that the API gives out.
        is_data: whether it is one structure, with files where `files` says.
        files: where those are.
    """

    kind: str = ""
    is_text: bool = False
    is_lines: bool = False
    is_data: bool = False
    is_files: bool = False
    files: tuple[Path, ...] = ()

    @classmethod
    def of(cls, model: Model) -> Declared:
        """As the catalogue has the model."""
        return cls(
            model.kind,
            model.has_output_text,
            model.output == "array<text>",
            model.output == "json",
            model.output in ("uri", "array<uri>"),
            tuple(tuple(path.split(".")) for path in model.output_files),
        )


@dataclass(frozen=True)
class Parts:
    """What there is to save.

    Attributes:
        found: the files, or the one text, in order.
        beside: tells what stands beside files, given their names: labels, scores; None where nothing does.
        places: of the found, from 0, among `count`: a list with gaps keeps the places of its files.
        count: as many as there would be without gaps.
    """

    found: list[Part]
    beside: Callable[[list[str]], str] | None = None
    places: list[int] = field(default_factory=lambda: [0])
    count: int = 1


def parts(output: Any, declared: Declared | None = None) -> Parts:
    """What there is to save.

    Files (addresses and `data:` URIs) count where they are declared, or wherever they are, in lists and in the values
    of dicts, in their order. Where there are none, the output is one text: a list of texts is one in pieces, as
    language models stream it, and anything else is written as JSON.

    Args:
        output: the prediction's `output`, decoded from JSON.
        declared: the model's declaration; None without one.

    Raises:
        NoOutput: null, or nothing but empty texts and lists.
    """
    declared = declared or Declared()
    every = list(_leaves(output, (), 0))
    leaves = [(path, leaf) for path, leaf in every if leaf not in (None, "")]
    if not declared.is_text:
        marked = [(path, leaf, _part(path, leaf, declared)) for path, leaf in leaves]
        files: list[Part] = [part for _, _, part in marked if part]
        if len(files) > MOST_FILES:
            raise NoOutput(f"the output has {len(files)} files; allowed: at most {MOST_FILES}")
        if files:
            has_more = len(files) < len(marked)
            if has_more:
                return Parts(
                    files, lambda names: _beside(output, declared, iter(names)), [*range(len(files))], len(files)
                )
            is_list = all(name == "*" for path, _ in every for name in path)  # gaps of other shapes mean nothing
            spots = [at for at, (_, leaf) in enumerate(every) if leaf not in (None, "")] if is_list else None
            return Parts(files, None, spots or list(range(len(files))), len(every) if spots else len(files))
    text = _text(output, [leaf for _, leaf in leaves], declared)
    if not text.strip():
        raise NoOutput(f"the prediction succeeded, but its output is {_shortened(output)}")
    return Parts([TextPart(text)])


def _text(output: Any, leaves: list[Any], declared: Declared) -> str:
    """The output as one text."""
    is_texts = all(isinstance(leaf, str) for leaf in leaves) and not isinstance(output, dict)
    if is_texts and not (declared.is_data and isinstance(output, list)):
        return ("\n" if declared.is_lines else "").join(leaves)
    return json.dumps(output, ensure_ascii=False, indent=2) if leaves else ""


def _leaves(value: Any, path: Path, depth: int) -> Iterator[tuple[Path, Any]]:
    if depth > MOST_DEPTH:
        raise NoOutput("the output is nested too deep")
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, (*path, str(name)), depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, (*path, "*"), depth + 1)
    else:
        yield path, value


def _part(path: Path, leaf: Any, declared: Declared) -> UrlPart | DataPart | None:
    """A file, where one can be."""
    found = _file(leaf) if _may_be_file(path, declared) else None
    if isinstance(found, UrlPart) and (declared.is_files or path in declared.files or path[:-1] in declared.files):
        return UrlPart(found.url, is_issued=True)
    return found


def _may_be_file(path: Path, declared: Declared) -> bool:
    """Whether a file can be there: anywhere, unless it is said where they are; alone, it is one all the same."""
    if not declared.is_data:
        return True
    return path in declared.files or path[:-1] in declared.files or all(name == "*" for name in path)


def _beside(output: Any, declared: Declared, names: Iterator[str]) -> str:
    """The output as JSON, its files replaced by their names."""

    def named(value: Any, path: Path) -> Any:
        if isinstance(value, Mapping):
            return {name: named(item, (*path, str(name))) for name, item in value.items()}
        if isinstance(value, list):
            return [named(item, (*path, "*")) for item in value]
        is_file = value not in (None, "") and _may_be_file(path, declared) and _file(value)
        return next(names) if is_file else value

    return json.dumps(named(output, ()), ensure_ascii=False, indent=2)


def _file(leaf: Any) -> UrlPart | DataPart | None:
    if not isinstance(leaf, str):
        return None
    text = leaf.strip()
    if is_data_uri(text):
        return DataPart(text)
    if text[:8].lower().startswith(("http://", "https://")) and len(text.split()) == 1 and _has_host(text):
        return UrlPart(text)
    return None


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False


def _shortened(output: Any) -> str:
    text = json.dumps(output)
    return text if len(text) <= 60 else f"{text[:57]}..."
