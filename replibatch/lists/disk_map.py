"""Numbers by key in a temporary file: memory stays flat, however many there are."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Self

CACHE_KIB = 1024


class DiskMap:
    """Whole numbers by key, gone when its `with` block ends. One thread at a time may use it."""

    def __init__(self) -> None:
        # An empty name is a temporary file of SQLite's own, made once the cache is full, unlinked from the start.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript(
            f"""
            PRAGMA cache_size = -{CACHE_KIB}; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
            CREATE TABLE map (key BLOB PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID; BEGIN
            """
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop it."""
        self._database.close()

    def __contains__(self, key: object) -> bool:
        return isinstance(key, bytes) and self.get(key) is not None

    def __iter__(self) -> Iterator[bytes]:
        """The keys, sorted."""
        return (key for (key,) in self._database.execute("SELECT key FROM map ORDER BY key"))

    def __setitem__(self, key: bytes, value: int) -> None:
        self._database.execute("INSERT OR REPLACE INTO map VALUES (?, ?)", (key, value))

    def get(self, key: bytes) -> int | None:
        """The number of a key; None where it has none."""
        row = self._database.execute("SELECT value FROM map WHERE key = ?", (key,)).fetchone()
        return None if row is None else int(row[0])

    def setdefault(self, key: bytes, value: int) -> int:
        """The number of a key, which is `value` from now on where it had none."""
        before = self.get(key)
        if before is None:
            self[key] = value
            return value
        return before

    def count(self, key: bytes) -> int:
        """One more of a key; returns how many there are now."""
        self[key] = number = (self.get(key) or 0) + 1
        return number

    def discard(self, key: bytes) -> None:
        """Forget a key, if it is there."""
        self._database.execute("DELETE FROM map WHERE key = ?", (key,))
