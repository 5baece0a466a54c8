"""From a finished prediction's output to files in their places: all of them, or none."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from replibatch import contents
from replibatch.errors import NoOutput, NotSaved, OutputPathError
from replibatch.file_formats import STILLS, Format, agrees, extension_of, recognise
from replibatch.outputs.download import Downloader
from replibatch.outputs.embedded import NotEmbedded
from replibatch.outputs.images import NotConverted, convert
from replibatch.outputs.placeholder import placeholder
from replibatch.outputs.provenance import Provenance, embed
from replibatch.outputs.shapes import DataPart, Part, TextPart, UrlPart, parts
from replibatch.requests import OutputFile
from replibatch.storage.names import numbered
from replibatch.storage.storage import Stage, Storage


def save(
    output: Any, *, key: str, storage: Storage, downloader: Downloader, provenance: Provenance | None = None
) -> tuple[tuple[OutputFile, ...], tuple[str, ...]]:
    """Save what a prediction made, replacing files of the same names. Doing it again makes the same files.

    Args:
        output: the finished prediction's `output`.
        key: the file's name; several outputs become `name_1.ext`, `name_2.ext`, …
        storage: where to.
        downloader: of this process.
        provenance: to be written into the files; None leaves them as they came.

    Returns:
        The files, and warnings about those whose bytes are not what their extension says.

    Raises:
        NoOutput: there is nothing to save.
        OutputErased: Replicate has erased it.
        NotSaved: it could not be downloaded or put in its place; nothing was written.
        OSError: the storage failed; no file is there in part.
    """
    found = parts(output)
    with ExitStack() as stack:

        def new_stage(name: str) -> Stage:
            return stack.enter_context(storage.staging(name))

        try:
            named = zip(found, numbered(key, len(found)), strict=True)
            finished = [_finish(part, name, new_stage, downloader) for part, name in named]
            if provenance:
                finished = [_told(each, provenance, new_stage) for each in finished]
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


def _finish(part: Part, name: str, new_stage: Callable[[str], Stage], downloader: Downloader) -> _Finished:
    """Bring one part into staging, in the format that its name promises where that can be."""
    stage = new_stage(name)
    sha256 = _bring(part, stage.path, downloader)
    warning = None
    made = recognise(stage.path)
    if not agrees(name, made):
        warning = f"{name}: the output is {_kind(part, made)}, kept as it is"
        promised = STILLS.get(extension_of(name))
        if promised and made and made.still:
            converted = new_stage(name)
            try:
                lost = convert(stage.path, converted.path, promised)
            except NotConverted as reason:
                warning += f": {reason}"
            else:
                stage, sha256 = converted, contents.sha256(converted.path)
                warning = f"{name}: converted from {made.name}, without its {', '.join(lost)}" if lost else None
    url = part.url if isinstance(part, UrlPart) else None
    return _Finished(stage, OutputFile(name, url, sha256, stage.path.stat().st_size), warning)


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


def _bring(part: Part, path: Path, downloader: Downloader) -> str:
    """Write a part's bytes; returns their hash."""
    with path.open("xb") as file:
        if isinstance(part, UrlPart):
            return downloader.fetch(part.url, file, missing_is_erased=True)
        digest = hashlib.sha256()
        for chunk in part.chunks() if isinstance(part, DataPart) else [part.text.encode(errors="replace")]:
            digest.update(chunk)
            file.write(chunk)
        if not file.tell():
            raise NoOutput("the output is a data: URI of an empty file")
        return digest.hexdigest()
