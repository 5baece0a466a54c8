"""Reference images on their way to Replicate: each content uploaded once, however many requests name it."""

from __future__ import annotations

import base64
import mimetypes
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from redis import Redis

from replibatch.redisdb import keys
from replibatch.routing.references import KEPT

KEPT_SECONDS = 23 * 3600  # Replicate keeps files for about 24 hours
LOCK_SECONDS = 60
LARGEST_DATA_BYTES = 20_000_000  # of a file in a data URI
AT_ONCE = 4  # uploads of one process: they share its line, and the API's connections


class Uploads:
    """The URLs of files that were uploaded, shared by every worker of an account.

    Args:
        redis: the fleet's Redis.
        prefix: the account's.
        open_input: opens a `file:<sha256>.<ext>` reference as a local file.
        upload: uploads a file under a name and returns its URL.
        is_there: whether Replicate still has the file of a URL.
    """

    def __init__(
        self,
        redis: Redis,
        prefix: str,
        open_input: Callable[[str], AbstractContextManager[Path]],
        upload: Callable[[Path, str], str],
        is_there: Callable[[str], bool],
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._open_input = open_input
        self._upload = upload
        self._is_there = is_there
        self._uploading = threading.BoundedSemaphore(AT_ONCE)

    def with_urls(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The inputs as Replicate takes them: every `file:<sha256>.<ext>` replaced by its URL."""
        return {name: self._resolve(value, self._url) for name, value in inputs.items()}

    def with_data(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The inputs for a model that refuses addresses: every `file:<sha256>.<ext>` replaced by a data URI."""
        return {name: self._resolve(value, self._data_uri) for name, value in inputs.items()}

    @staticmethod
    def has_urls(inputs: dict[str, Any], sent: dict[str, Any]) -> bool:
        """Whether a file of these inputs went as the address of an upload."""
        pairs = [pair for name in inputs for pair in _pairs(inputs[name], sent.get(name))]
        return any(
            isinstance(reference, str) and KEPT.fullmatch(reference) and not str(url).startswith("data:")
            for reference, url in pairs
        )

    def dropped(self, inputs: dict[str, Any], sent: dict[str, Any]) -> bool:
        """Whether Replicate had dropped a file of these inputs; its URL is forgotten, so that it is uploaded again.

        Args:
            inputs: with `file:…` references.
            sent: the same as `with_urls` made them.
        """
        pairs = [pair for name in inputs for pair in _pairs(inputs[name], sent.get(name))]
        return bool([pair for pair in pairs if self._is_dropped(*pair)])  # a list: every file is checked

    def _is_dropped(self, reference: Any, url: Any) -> bool:
        if reference == url or not isinstance(reference, str) or not (match := KEPT.fullmatch(reference)):
            return False
        if str(url).startswith("data:"):  # nothing was uploaded
            return False
        key = keys.UPLOAD.at(self._prefix, match[1])
        if self._redis.get(key) != url:
            return True  # another process found out, and it is uploaded again
        if self._is_there(url):
            return False
        self._redis.delete(key)
        return True

    def _resolve(self, value: Any, place_of: Callable[[str, str], str]) -> Any:
        if isinstance(value, list):
            return [self._resolve(item, place_of) for item in value]
        if isinstance(value, str) and (reference := KEPT.fullmatch(value)):
            return place_of(value, reference[1])
        return value

    def _data_uri(self, reference: str, name: str) -> str:
        """A file as a data URI; one that is too large for any create goes as an address all the same."""
        with self._open_input(reference) as path:
            if path.stat().st_size > LARGEST_DATA_BYTES:
                return self._url(reference, name)
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"

    def _url(self, reference: str, name: str) -> str:
        key = keys.UPLOAD.at(self._prefix, name)
        if url := self._redis.get(key):
            return str(url)
        # One upload of this content in the fleet; should it outlast the lock, another may begin, which costs nothing.
        lock = self._redis.lock(
            keys.UPLOAD_LOCK.at(self._prefix, name), timeout=LOCK_SECONDS, raise_on_release_error=False
        )
        with self._uploading, lock:
            if url := self._redis.get(key):
                return str(url)
            with self._open_input(reference) as path:
                url = self._upload(path, name)
            self._redis.set(key, url, ex=KEPT_SECONDS)
            return url


def _pairs(value: Any, sent: Any) -> list[tuple[Any, Any]]:
    """An input's files, each with what was sent for it."""
    if isinstance(value, list) and isinstance(sent, list):
        return list(zip(value, sent, strict=False))
    return [(value, sent)]
