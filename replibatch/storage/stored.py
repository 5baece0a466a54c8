"""An output where the storage has it, read from there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from replibatch.requests import OutputFile
from replibatch.storage.storage import Storage


class StoredFile(OutputFile):
    """An `OutputFile` with its key in the storage as `path` and its bytes from there."""

    @classmethod
    def of(cls, file: OutputFile, storage: Storage) -> Self:
        """The same file, read from a storage."""
        stored = cls(file.path, file.url, file.sha256, file.size_bytes)
        object.__setattr__(stored, "_storage", storage)  # frozen, and no field: it travels nowhere
        return stored

    def __iter__(self) -> Iterator[bytes]:
        """The file in chunks, as they come from the storage."""
        storage: Storage = self.__dict__["_storage"]
        return self.verified(storage.chunks(self.path))
