"""Where outputs and reference images are kept, so that producers and every worker see them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from replibatch.errors import SettingsError
from replibatch.storage.containment import Place
from replibatch.storage.folder import Folder

UNTESTED = ("gs", "az", "azure", "abfs", "abfss")  # what else obstore speaks


class Stage(Protocol):
    """A file on its way into a storage.

    Attributes:
        path: where to write it, on this machine; nothing is there yet.
    """

    path: Path

    def commit(self, *, overwrite: bool = True) -> bool:
        """Put the file in its place, whole and in one step.

        Args:
            overwrite: whether it may replace a file that is there; where it may not, it must be a small one.

        Returns:
            False where a file is there and stays.

        Raises:
            OSError: it cannot be put there.
        """


class Storage(Protocol):
    """Outputs by key, and reference images by content. Every method raises `OSError` where the storage fails.

    Attributes:
        where: the folder, or the address without anything secret, for people.
    """

    where: str

    def within(self, folder: str) -> Storage:
        """The same, with absolute keys below that folder alone, and no link on the way from there followed.

        Args:
            folder: empty for wherever keys lead.
        """

    def staging(self, key: str) -> AbstractContextManager[Stage]:
        """A place to write an output's content, to be committed; without a commit it is gone at the end.

        Raises:
            OutputPathError: the key's place is outside the storage, or a folder.
        """

    def chunks(self, key: str) -> Iterator[bytes]:
        """A stored output, a piece at a time.

        Raises:
            OutputPathError: as `staging`.
            FileNotFoundError: it is not there.
        """

    def fetch(self, key: str, destination: Path | Place) -> None:
        """Bring a stored output to `destination` on this machine, whole or not at all.

        Raises:
            OutputPathError, FileNotFoundError: as `chunks`.
        """

    def keep_input(self, content: Iterable[bytes], extension: str) -> str:
        """Keep a reference image for every worker, once for equal content; kept already, it is kept anew.

        Args:
            content: its bytes.
            extension: for unrecognised bytes.

        Returns:
            `file:<sha256>.<extension>`.
        """

    def open_input(self, reference: str) -> AbstractContextManager[Path]:
        """A kept reference image as a local file, as long as the `with` block lasts.

        Raises:
            ReferenceImageError: it is not there.
        """

    def remove_inputs(self, unused_for_seconds: float) -> int:
        """Remove the account's reference images that were last kept longer ago than that; returns how many."""

    def identity(self) -> str | None:
        """What tells this storage from any other, wherever it is seen from; None where it has not been marked."""

    def mark(self, identity: str) -> str:
        """Give it this identity, unless it has one; returns the one it has."""

    def free_bytes(self) -> int | None:
        """How much more it can take; None where that is not known."""

    def check_writable(self) -> None:
        """Write a file and remove it.

        Raises:
            SettingsError: that failed; says where and why.
        """


def open_storage(
    url: str | None,
    base: Path,
    *,
    scratch: Path,
    account: str = "",
    inputs_root: Path | None = None,
    absolute_ok: bool = False,
) -> Storage:
    """The storage that a setting names.

    Args:
        url: `REPLIBATCH_STORAGE_URL`: a folder, a `file://` address, `s3://bucket/prefix`, or None for `base`.
        base: what a relative folder is relative to.
        scratch: a local folder for files on their way to a storage that is none.
        account: the folder of the account's reference images among those of others; empty where there are no others.
        inputs_root: where reference images are kept beside a folder; None for `.replibatch/inputs` in the storage.
        absolute_ok: whether keys may be absolute paths anywhere, as embedded mode gives them.

    Raises:
        SettingsError: it names something that cannot be opened.
    """
    if url is None:
        return Folder(base, account=account, inputs_root=inputs_root, absolute_ok=absolute_ok)
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        url = unquote(parts.path)
    elif parts.scheme == "s3" or parts.scheme in UNTESTED:
        from replibatch.storage.s3 import ObjectStorage  # noqa: PLC0415  # only where it is asked for

        return ObjectStorage(url, scratch, account=account)
    elif len(parts.scheme) > 1:  # one letter is a drive of Windows
        where = f"{parts.scheme}://{parts.hostname or ''}"
        raise SettingsError(f"REPLIBATCH_STORAGE_URL is {where!r}; allowed: a folder or s3://bucket/prefix")
    root = base / Path(url).expanduser()
    return Folder(root, account=account, inputs_root=inputs_root, absolute_ok=absolute_ok)
