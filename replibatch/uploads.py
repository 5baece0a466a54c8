"""Reference images on their way to Replicate: each content uploaded once, however many requests name it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redis import Redis

REFERENCE = re.compile(r"file:([0-9a-f]{64}\.[a-z0-9]+)")  # a prompt may begin with `file:`, too
KEPT_SECONDS = 23 * 3600  # Replicate keeps files for about 24 hours
LOCK_SECONDS = 60
AT_ONCE = 4  # uploads of one process: they share its line, and the API's connections


class Uploads:
    """The URLs of files that were uploaded, shared by every worker of an account.

    Args:
        redis: the fleet's Redis.
        prefix: the account's.
        open_input: gives the local path of a `file:<sha256>.<ext>` reference.
        upload: uploads a file and returns its URL.
    """

    def __init__(
        self, redis: Redis, prefix: str, open_input: Callable[[str], Path], upload: Callable[[Path], str]
    ) -> None:
        self._redis = redis
        self._prefix = f"{prefix}upload:"
        self._open_input = open_input
        self._upload = upload
        self._uploading = threading.BoundedSemaphore(AT_ONCE)

    def with_urls(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The inputs as Replicate takes them: every `file:<sha256>.<ext>` replaced by its URL."""
        return {name: self._resolve(value) for name, value in inputs.items()}

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._resolve(item) for item in value]
        if isinstance(value, str) and (reference := REFERENCE.fullmatch(value)):
            return self._url(value, reference[1])
        return value

    def _url(self, reference: str, name: str) -> str:
        key = self._prefix + name
        if url := self._redis.get(key):
            return str(url)
        # One upload of this content in the fleet; should it outlast the lock, another may begin, which costs nothing.
        lock = self._redis.lock(key + ":lock", timeout=LOCK_SECONDS, raise_on_release_error=False)
        with self._uploading, lock:
            if url := self._redis.get(key):
                return str(url)
            url = self._upload(self._open_input(reference))
            self._redis.set(key, url, ex=KEPT_SECONDS)
            return url
