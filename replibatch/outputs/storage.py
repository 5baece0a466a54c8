"""Where outputs and reference images are kept: a folder that every worker sees."""

from __future__ import annotations

import hashlib
import re
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from replibatch.errors import OutputPathError, ReferenceImageError, SettingsError
from replibatch.outputs.images import recognise
from replibatch.outputs.naming import PRIVATE_FOLDER
from replibatch.outputs.staging import Staged, staged

REFERENCE = re.compile(r"file:([0-9a-f]{64}\.[a-z0-9]{1,8})")
CHUNK_BYTES = 1024 * 1024


class Storage(Protocol):
    """Outputs by key, and reference images by content."""

    def staging(self, key: str) -> AbstractContextManager[Staged]:
        """A place to write an output's content, to be committed.

        Raises:
            OutputPathError: the key's place is outside the storage, or a folder.
        """

    def fetch(self, key: str, destination: Path) -> None:
        """Bring a stored output to `destination` on this machine, whole or not at all.

        Raises:
            OutputPathError: as `staging`.
            OSError: it is not there, or cannot be written.
        """

    def store_input(self, path: Path) -> str:
        """Keep a reference image for every worker, once for equal content; returns `file:<sha256>.<extension>`."""

    def open_input(self, reference: str) -> Path:
        """The local path of a kept reference image.

        Raises:
            ReferenceImageError: it is not there.
        """

    def check_writable(self) -> None:
        """Write a file and remove it.

        Raises:
            SettingsError: that failed; says where and why.
        """


def open_storage(
    url: str | None, base: Path, *, inputs_root: Path | None = None, absolute_ok: bool = False
) -> Storage:
    """The storage that a setting names.

    Args:
        url: `REPLIBATCH_STORAGE_URL`: a folder, a `file://` address, or None for `base`.
        base: what a relative folder is relative to.
        inputs_root: where reference images are kept; None for `.replibatch/inputs` in the storage.
        absolute_ok: whether keys may be absolute paths anywhere, as embedded mode gives them.

    Raises:
        SettingsError: it names something that cannot be opened.
    """
    if url is None:
        return Folder(base, inputs_root=inputs_root, absolute_ok=absolute_ok)
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        url = unquote(parts.path)
    elif len(parts.scheme) > 1:  # one letter is a drive of Windows
        where = f"{parts.scheme}://{parts.hostname or ''}"
        if parts.scheme == "s3":
            raise SettingsError(
                f"REPLIBATCH_STORAGE_URL is {where!r}: needs the extra replibatch[s3], which is not installed; "
                "allowed without it: a folder"
            )
        raise SettingsError(f"REPLIBATCH_STORAGE_URL is {where!r}; allowed: a folder or s3://bucket/prefix")
    return Folder(base / Path(url).expanduser(), inputs_root=inputs_root, absolute_ok=absolute_ok)


class Folder:
    """A local folder, or one that every worker's host has mounted.

    Args:
        root: where keys are relative to.
        inputs_root: where reference images are kept; None for `.replibatch/inputs` in the root.
        absolute_ok: whether keys may be absolute paths anywhere; otherwise nothing leaves the root, by `..` or by
            a symbolic link.
    """

    def __init__(self, root: Path, *, inputs_root: Path | None = None, absolute_ok: bool = False) -> None:
        self._root = root.absolute()
        self._inputs = inputs_root or self._root / PRIVATE_FOLDER / "inputs"
        self._absolute_ok = absolute_ok

    def staging(self, key: str) -> AbstractContextManager[Staged]:
        """As `Storage.staging`."""
        return staged(self._place(key))

    def fetch(self, key: str, destination: Path) -> None:
        """As `Storage.fetch`."""
        source = self._place(key)
        if destination.exists() and source.samefile(destination):
            return
        with staged(destination) as stage:
            shutil.copyfile(source, stage.path)
            stage.commit()

    def store_input(self, path: Path) -> str:
        """As `Storage.store_input`."""
        digest = hashlib.sha256()
        with staged(self._inputs / path.name) as stage:
            with path.open("rb") as source, stage.path.open("xb") as copy:
                while chunk := source.read(CHUNK_BYTES):
                    digest.update(chunk)
                    copy.write(chunk)
            name = f"{digest.hexdigest()}.{_input_extension(stage.path, path)}"
            stage.target = self._inputs / name
            stage.commit(overwrite=False)
        return f"file:{name}"

    def open_input(self, reference: str) -> Path:
        """As `Storage.open_input`."""
        match = REFERENCE.fullmatch(reference)
        if match and (path := self._inputs / match[1]).is_file():
            return path
        raise ReferenceImageError(
            f"the reference image {reference!r} is not in {self._inputs}; "
            "allowed: a storage that producers and workers share"
        )

    def check_writable(self) -> None:
        """As `Storage.check_writable`."""
        try:
            with staged(self._root / "writable") as stage:
                stage.path.write_bytes(b"yes")
        except OSError as error:
            raise SettingsError(
                f"the storage {str(self._root)!r} cannot be written: {error.strerror}; "
                "allowed: a folder that the workers may write to"
            ) from error

    def _place(self, key: str) -> Path:
        """Where a key's file is, looked at after every symbolic link on the way."""
        place = self._root / key
        if not self._absolute_ok:
            folder = place.parent.resolve()
            if not folder.is_relative_to(self._root.resolve()) or place.name in ("", ".."):
                raise OutputPathError(f"the output {key!r} is outside the storage {str(self._root)!r}")
        if place.is_dir():
            raise OutputPathError(f"the output {key!r} is a folder; allowed: a file's path")
        return place


def _input_extension(copy: Path, original: Path) -> str:
    """What the bytes are; for what is not recognised, what the name says."""
    if found := recognise(copy):
        return found.extensions[0]
    suffix = original.suffix.lower().lstrip(".")
    return suffix if re.fullmatch(r"[a-z0-9]{1,8}", suffix) else "bin"
