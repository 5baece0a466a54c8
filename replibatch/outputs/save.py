"""From a finished prediction's output to files in their places: all files, or none."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlsplit

from replibatch import contents
from replibatch.errors import NoOutput, NotSaved, OutputPathError, WrongOutput
from replibatch.file_formats import HINTED, STILLS, TEXT, Format, agrees, extension_of, recognise
from replibatch.outputs.download import LARGEST_BYTES, Downloader
from replibatch.outputs.embedded import NotEmbedded
from replibatch.outputs.images import NotConverted, convert
from replibatch.outputs.placeholder import placeholder
from replibatch.outputs.provenance import Provenance, embed
from replibatch.outputs.shapes import DataPart, Declared, Part, TextPart, UrlPart, parts
from replibatch.requests import OutputFile
from replibatch.storage.names import numbered
from replibatch.storage.storage import Stage, Storage

LARGEST_STILL_BYTES = 256 * 1024**2
LARGEST_OUTPUT_BYTES = 16 * 1024**3  # all files of one output together

# Kinds of which a page or a text is none, with the formats that are written as text all the same.
MADE_OF_TEXT = {"image": ("SVG",), "video": (), "audio": (), "3d": ("glTF", "text")}


def save(
    output: Any,
    *,
    key: str,
    storage: Storage,
    downloader: Downloader,
    declared: Declared | None = None,
    extension_is_free: bool = False,
    provenance: Provenance | None = None,
) -> tuple[tuple[OutputFile, ...], tuple[str, ...]]:
    """Save what a prediction made, replacing files of the same names. Doing it again makes the same files.

    What stands beside files, labels or scores, goes into `name.json`, with the names of the files in their places.

    Args:
        output: the finished prediction's `output`.
        key: the file's name; several outputs become `name_1.ext`, `name_2.ext`, …
        storage: where to.
        downloader: of this process.
        declared: what the model is said to make; None for nothing.
        extension_is_free: whether the extension was made up: then it is what the bytes are, and nothing is converted.
        provenance: to be written into the files; None leaves them as they came.

    Returns:
        The files, and warnings about files with bytes of another format than their extension says.

    Raises:
        NoOutput: there is nothing to save.
        WrongOutput: it is a page or a text, where a picture, a video or a sound was declared.
        OutputErased: Replicate has erased it.
        NotSaved: it could not be downloaded or put in its place; nothing was written.
        OSError: the storage failed; no file is there in part.
    """
    declared = declared or Declared()
    made = parts(output, declared)
    with ExitStack() as stack:

        def new_stage(name: str) -> Stage:
            return stack.enter_context(storage.staging(name))

        try:
            names = numbered(key, made.count)
            named = zip(made.found, (names[place] for place in made.places), strict=True)
            finish = _Finisher(new_stage, downloader, declared.kind, extension_is_free=extension_is_free)
            finished = [finish(part, name) for part, name in named]
            if provenance:
                finished = [_told(each, provenance, new_stage) for each in finished]
            if made.beside:
                finished.append(_labels(made.beside, key, [each.file.path for each in finished], new_stage))
        except OutputPathError as error:
            raise NotSaved(str(error)) from error
        for each in finished:
            each.stage.commit()
    return tuple(each.file for each in finished), tuple(each.warning for each in finished if each.warning)


def save_placeholder(*, key: str, storage: Storage) -> OutputFile | None:
    """Save the black image under a name, unless it asks for a video or another file has it.

    A placeholder that is there already counts: doing it again gives the same file.

    Raises:
        OSError: the storage failed.
    """
    content = placeholder(key)
    if content is None:
        return None
    try:
        with storage.staging(key) as stage:
            stage.path.write_bytes(content)
            if not stage.commit(overwrite=False) and not _holds(storage, key, content):
                return None
    except OutputPathError:
        return None
    return OutputFile(key, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


def _holds(storage: Storage, key: str, content: bytes) -> bool:
    place = 0
    for chunk in storage.chunks(key):
        if content[place : place + len(chunk)] != chunk:
            return False
        place += len(chunk)
    return place == len(content)


@dataclass(frozen=True)
class _Finished:
    """An output ready to be put in its place."""

    stage: Stage
    file: OutputFile
    warning: str | None


class _Finisher:
    """Brings parts into staging.

    Args:
        new_stage: a place for a file of that name.
        downloader: of this process.
        kind: what the model makes.
        extension_is_free: whether extensions follow the bytes.
    """

    def __init__(
        self, new_stage: Callable[[str], Stage], downloader: Downloader, kind: str, *, extension_is_free: bool
    ) -> None:
        self._new_stage = new_stage
        self._downloader = downloader
        self._kind = kind
        self._extension_is_free = extension_is_free
        self._left_bytes = LARGEST_OUTPUT_BYTES

    def __call__(self, part: Part, name: str) -> _Finished:
        """Bring one part into staging, in the format that its name promises where that can be."""
        stage = self._new_stage(name)
        is_still = extension_of(name) in STILLS and self._kind in ("image", "")
        largest_bytes = min(LARGEST_STILL_BYTES if is_still else LARGEST_BYTES, self._left_bytes)
        sha256 = _bring(part, stage.path, self._downloader, largest_bytes)
        self._left_bytes -= stage.path.stat().st_size
        made = recognise(stage.path)
        warning = None
        self._refuse_what_it_cannot_be(name, made)
        if self._extension_is_free and (suited := _suited(name, part, made)) != name:
            name, brought = suited, stage
            stage = self._new_stage(name)
            brought.path.replace(stage.path)
        elif not agrees(name, made):
            stage, sha256, warning = self._converted(stage, sha256, name, part, made)
        url = part.url if isinstance(part, UrlPart) else None
        return _Finished(stage, OutputFile(name, url, sha256, stage.path.stat().st_size), warning)

    def _refuse_what_it_cannot_be(self, name: str, made: Format | None) -> None:
        """A page or a text is no picture, unless it was asked for by its name; it may be an error, served as one."""
        allowed = MADE_OF_TEXT.get(self._kind)
        if allowed is None or made is None or (not self._extension_is_free and agrees(name, made)):
            return
        if made.kind in ("text", "data") and made.name not in allowed:
            raise WrongOutput(f"the output is {made.name}; allowed: a file of the kind {self._kind}")

    def _converted(
        self, stage: Stage, sha256: str, name: str, part: Part, made: Format | None
    ) -> tuple[Stage, str, str | None]:
        """Convert a still image to the format that its name promises; keep any other file, with a warning."""
        warning = f"{name}: the output is {_kind(part, made)}, kept as it is"
        promised = STILLS.get(extension_of(name))
        if promised and made and made.still:
            converted = self._new_stage(name)
            try:
                lost = convert(stage.path, converted.path, promised)
            except NotConverted as reason:
                warning += f": {reason}"
            else:
                said = f"{name}: converted from {made.name}, without its {', '.join(lost)}" if lost else None
                return converted, contents.sha256(converted.path), said
        return stage, sha256, warning


def _suited(name: str, part: Part, made: Format | None) -> str:
    """The name with the extension of what the bytes are; where they do not tell, with that of the address."""
    hint = extension_of(urlsplit(part.url).path) if isinstance(part, UrlPart) else ""
    if made is None or made is TEXT or made.kind == "archive":
        known = made.extensions if made else HINTED
        if hint in known or (made and hint in HINTED):
            return _renamed(name, hint)
    if made is None or extension_of(name) in made.extensions:
        return name
    return _renamed(name, made.extensions[0])


def _renamed(name: str, extension: str) -> str:
    path = PurePath(name)
    return (
        path.with_suffix(f".{extension}") if path.suffix else path.with_name(f"{path.name}.{extension}")
    ).as_posix()


def _labels(
    beside: Callable[[list[str]], str], key: str, names: list[str], new_stage: Callable[[str], Stage]
) -> _Finished:
    """What stands beside the files, as `name.json`, or as `name.labels.json` where a file is called so."""
    path = PurePath(key)
    name = path.with_name(f"{path.stem}.json").as_posix()
    if name in names:
        name = path.with_name(f"{path.stem}.labels.json").as_posix()
    stage = new_stage(name)
    text = beside([PurePath(each).name for each in names]).encode(errors="replace")
    stage.path.write_bytes(text)
    return _Finished(stage, OutputFile(name, None, hashlib.sha256(text).hexdigest(), len(text)), None)


def _told(finished: _Finished, provenance: Provenance, new_stage: Callable[[str], Stage]) -> _Finished:
    """The same file with its provenance written into it; where that cannot be, as it was, with the reason."""
    file = finished.file
    stage = new_stage(file.path)
    try:
        embed(finished.stage.path, stage.path, provenance)
    except NotEmbedded as reason:
        made = recognise(finished.stage.path)
        warning = f"{file.path}: its provenance is not written into it: {reason}" if made else None
        return replace(finished, warning="; ".join(filter(None, (finished.warning, warning))) or None)
    size = stage.path.stat().st_size
    told = replace(file, sha256=contents.sha256(stage.path), size_bytes=size)
    return replace(finished, stage=stage, file=told)


def _kind(part: Part, made: Format | None) -> str:
    if made:
        return made.name
    return "text" if isinstance(part, TextPart) else "of an unknown format"


def _bring(part: Part, path: Path, downloader: Downloader, largest_bytes: int) -> str:
    """Write a part's bytes; returns their hash."""
    with path.open("xb") as file:
        if isinstance(part, UrlPart):
            return downloader.fetch(
                part.url, file, missing_is_erased=True, is_issued=part.is_issued, largest_bytes=largest_bytes
            )
        digest = hashlib.sha256()
        for chunk in part.chunks() if isinstance(part, DataPart) else [part.text.encode(errors="replace")]:
            digest.update(chunk)
            file.write(chunk)
        if not file.tell():
            raise NoOutput("the output is a data: URI of an empty file")
        return digest.hexdigest()
