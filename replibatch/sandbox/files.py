"""Files the account has uploaded. Their content is hashed and let go: nothing here ever reads it again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from replibatch.sandbox.accounts import Account
from replibatch.sandbox.clock import iso, now
from replibatch.sandbox.predictions import new_id
from replibatch.sandbox.settings import SandboxSettings


@dataclass(frozen=True)
class File:
    """One uploaded file; times in Unix seconds."""

    account: Account
    name: str
    content_type: str
    size_bytes: int
    sha256: str
    metadata: dict[str, Any]
    created_at: float
    expires_at: float
    id: str = field(default_factory=new_id)

    def view(self, base_url: str) -> dict[str, Any]:
        """The file as the API's JSON."""
        return {
            "id": self.id,
            "name": self.name,
            "content_type": self.content_type,
            "size": self.size_bytes,
            "etag": self.sha256[:32],
            "checksums": {"sha256": self.sha256},
            "metadata": self.metadata,
            "created_at": iso(self.created_at),
            "expires_at": iso(self.expires_at),
            "urls": {"get": f"{base_url}/v1/files/{self.id}"},
        }


class Files:
    """All files of all accounts.

    Args:
        settings: says how long they are kept.
    """

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._files: dict[str, File] = {}

    def add(self, account: Account, name: str, content_type: str, content: bytes, metadata: dict[str, Any]) -> File:
        """Keep a file."""
        at = now()
        file = File(
            account,
            name,
            content_type,
            len(content),
            hashlib.sha256(content).hexdigest(),
            metadata,
            at,
            at + self._settings.keep_files_seconds,
        )
        self._files[file.id] = file
        return file

    def find(self, file_id: str) -> File | None:
        """A file that is still there."""
        file = self._files.get(file_id)
        return file if file and now() < file.expires_at else None

    def of(self, account: Account) -> list[File]:
        """The account's files, newest first."""
        at = now()
        return [file for file in reversed(self._files.values()) if file.account is account and at < file.expires_at]

    def remove(self, file: File) -> None:
        """Delete a file."""
        del self._files[file.id]
