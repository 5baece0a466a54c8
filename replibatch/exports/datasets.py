"""Results as a data set: WebDataset shards, or a folder of pictures with their captions."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from replibatch.exports.rows import caption, pictures
from replibatch.gallery.results_lines import Line
from replibatch.storage.atomic import staged

SHARD_BYTES = 1 << 30
METADATA = "metadata.jsonl"


@dataclass(frozen=True)
class _Sample:
    """A picture and what goes along with it."""

    key: str
    picture: Path
    line: Line

    @property
    def extension(self) -> str:
        return self.picture.suffix.lower().lstrip(".") or "bin"


def write_imagefolder(lines: Iterable[Line], folder: Path, destination: Path) -> int:
    """Write `DIR/<picture>…` and `DIR/metadata.jsonl`, as the `imagefolder` of Hugging Face's datasets reads them.

    Args:
        lines: the results; those that failed are left out.
        folder: where the paths of their files start.
        destination: DIR; pictures are linked into it where that can be, and copied otherwise.

    Returns:
        How many pictures.

    Raises:
        OSError: a file cannot be read or written.
    """
    count = 0
    with staged(destination / METADATA) as stage:
        with stage.path.open("x", encoding="utf-8") as metadata:
            for sample in _samples(lines, folder):
                name = f"{sample.key}.{sample.extension}"
                _place(sample.picture, destination / name)
                row = {"file_name": name, "text": sample.line.result.prompt or "", **caption(sample.line)}
                metadata.write(json.dumps(row, ensure_ascii=False) + "\n")
                count += 1
        stage.commit()
    return count


def write_webdataset(
    lines: Iterable[Line], folder: Path, destination: Path, *, shard_bytes: int = SHARD_BYTES
) -> int:
    """Write `DIR/shard-000000.tar`, …: of each picture `<key>.<ext>`, `<key>.txt` (its prompt), `<key>.json`.

    Args:
        lines: the results; those that failed are left out.
        folder: where the paths of their files start.
        destination: DIR; each shard is written whole or not at all.
        shard_bytes: a shard is closed once it is larger.

    Returns:
        How many pictures.

    Raises:
        OSError: a file cannot be read or written.
    """
    count, number = 0, 0
    samples = _samples(lines, folder)
    sample = next(samples, None)
    while sample:
        with staged(destination / f"shard-{number:06d}.tar") as stage:
            with tarfile.open(stage.path, "x", format=tarfile.PAX_FORMAT) as shard:
                while sample and shard.offset < shard_bytes:
                    _add(shard, sample)
                    count += 1
                    sample = next(samples, None)
            stage.commit()
        number += 1
    return count


def _samples(lines: Iterable[Line], folder: Path) -> Iterator[_Sample]:
    """The pictures that are there, each with a key that sorts as the list does."""
    for place, line in enumerate(lines):
        found = pictures(line, folder)
        for number, picture in enumerate(found, 1):
            if picture.is_file():
                key = f"{place:08d}" if len(found) == 1 else f"{place:08d}_{number}"
                yield _Sample(key, picture, line)


def _add(shard: tarfile.TarFile, sample: _Sample) -> None:
    text = (sample.line.result.prompt or "").encode("utf-8", "replace")
    told = json.dumps(caption(sample.line), ensure_ascii=True).encode()
    with sample.picture.open("rb") as file:
        entry = tarfile.TarInfo(f"{sample.key}.{sample.extension}")
        entry.size = os.fstat(file.fileno()).st_size
        shard.addfile(entry, file)
    for extension, content in (("json", told), ("txt", text)):
        if extension != sample.extension:
            entry = tarfile.TarInfo(f"{sample.key}.{extension}")
            entry.size = len(content)
            shard.addfile(entry, BytesIO(content))


def _place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        if target.samefile(source):
            return
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)
