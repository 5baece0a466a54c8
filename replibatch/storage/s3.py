"""A bucket as storage, through obstore: `s3://bucket/prefix`.

Credentials, region and endpoint are those of the usual `AWS_*` variables, which obstore reads itself: they are never
in a setting, a message, Redis or an error of ours.
"""

from __future__ import annotations

import ipaddress
import mimetypes
import os
import re
import secrets
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from replibatch.errors import OutputPathError, ReferenceImageError, SettingsError, StorageError
from replibatch.routing.references import KEPT
from replibatch.storage.atomic import staged
from replibatch.storage.containment import Place
from replibatch.storage.inputs import write_input
from replibatch.storage.names import IDENTITY, PRIVATE_FOLDER, safe_key

INPUTS = f"{PRIVATE_FOLDER}/inputs"
PIECE_BYTES = 2**20  # of a download, at least
PART_BYTES = 8 * 2**20  # of an upload; at least 5 MiB, S3 says; 10,000 parts are 80 GB
PARTS_AT_ONCE = 2  # of one file: what an upload holds in memory
KEPT_ANEW_SECONDS = 3600.0  # a younger reference image need not be uploaded again
CLIENT = {"connect_timeout": timedelta(seconds=10), "timeout": timedelta(minutes=10)}
RETRY: Any = {"max_retries": 4, "retry_timeout": timedelta(minutes=1)}

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_SAID = re.compile(r"<Code>([^<]*)</Code>\s*<Message>([^<]*)</Message>")  # S3's errors are XML
_REST = re.compile(r"[<\n].*", re.DOTALL)


class ObjectStorage:
    """Outputs and reference images as objects of a bucket.

    Args:
        url: `s3://bucket` or `s3://bucket/prefix`.
        scratch: a local folder for files on their way.
        account: the folder of the account's reference images among those of others; empty where there are no others.

    Raises:
        SettingsError: the address is malformed, or the extra is not installed.
    """

    def __init__(self, url: str, scratch: Path, *, account: str = "") -> None:
        parts = urlsplit(url)
        self.where = f"{parts.scheme}://{parts.hostname or ''}{parts.path}".rstrip("/")
        if not parts.hostname or parts.username or parts.password or parts.query or parts.fragment:
            raise SettingsError(
                f"REPLIBATCH_STORAGE_URL is {self.where!r} with more or less than a bucket and a prefix; "
                "allowed: s3://bucket/prefix, with credentials and endpoint in the AWS_* variables"
            )
        try:
            import obstore  # noqa: PLC0415  # an extra
            from obstore.store import from_url  # noqa: PLC0415
        except ImportError:
            raise SettingsError(
                f"REPLIBATCH_STORAGE_URL is {self.where!r}, which needs an extra: pip install replibatch[s3]"
            ) from None
        if parts.scheme != "s3":
            warnings.warn(f"{self.where}: replibatch is tested with folders and s3:// alone", stacklevel=2)
        self._obstore = obstore
        self._scratch = scratch
        self._inputs = f"{INPUTS}/{account}/" if account else f"{INPUTS}/"
        client: Any = CLIENT | ({"allow_http": True} if _is_on_this_machine() else {})
        try:
            self._store = from_url(self.where, client_options=client, retry_config=RETRY)
        except Exception as error:  # noqa: BLE001  # obstore's own, and ValueError
            raise SettingsError(f"the storage {self.where!r} cannot be opened: {_words(error)}") from None

    def within(self, _folder: str) -> ObjectStorage:
        """As `Storage.within`: a bucket has no absolute keys."""
        return self

    @contextmanager
    def staging(self, key: str) -> Iterator[Upload]:
        """As `Storage.staging`: a local file, uploaded as it is committed."""
        place = _place(key)
        with staged(self._scratch / Path(place).name) as local:
            yield Upload(local.path, place, self)

    def chunks(self, key: str) -> Iterator[bytes]:
        """As `Storage.chunks`."""
        yield from self._chunks(_place(key))

    def fetch(self, key: str, destination: Path | Place) -> None:
        """As `Storage.fetch`."""
        with staged(destination) as stage:
            self._download(_place(key), stage.path)
            stage.commit()

    def keep_input(self, content: Iterable[bytes], extension: str) -> str:
        """As `Storage.keep_input`."""
        with staged(self._scratch / "input") as local:
            name = write_input(local.path, content, extension)
            if self._age_seconds(self._inputs + name) > KEPT_ANEW_SECONDS:
                self.put(local.path, self._inputs + name, overwrite=True)
        return f"file:{name}"

    @contextmanager
    def open_input(self, reference: str) -> Iterator[Path]:
        """As `Storage.open_input`: brought into a local file."""
        match = KEPT.fullmatch(reference)
        with staged(self._scratch / "input") as local:
            try:
                self._download(self._inputs + (match[1] if match else ""), local.path)
            except FileNotFoundError:
                raise ReferenceImageError(f"the reference image {reference!r} is not in {self.where}") from None
            yield local.path

    def remove_inputs(self, unused_for_seconds: float) -> int:
        """As `Storage.remove_inputs`."""
        oldest = datetime.now(UTC) - timedelta(seconds=unused_for_seconds)
        removed = 0
        with self._told(self._inputs):
            for page in self._obstore.list(self._store, self._inputs.rstrip("/")):
                old = [each["path"] for each in page if each["last_modified"] < oldest]
                if old:
                    self._obstore.delete(self._store, old)
                removed += len(old)
        return removed

    def identity(self) -> str | None:
        """As `Storage.identity`: what an object of the bucket says."""
        try:
            return self._identity()
        except FileNotFoundError:
            return None

    def mark(self, identity: str) -> str:
        """As `Storage.mark`."""
        with staged(self._scratch / "storage-id") as local:
            local.path.write_text(identity)
            self.put(local.path, IDENTITY, overwrite=False)
        return self._identity()

    def _identity(self) -> str:
        return b"".join(self._chunks(IDENTITY)).decode()

    def free_bytes(self) -> int | None:
        """As `Storage.free_bytes`."""
        return None

    def check_writable(self) -> None:
        """As `Storage.check_writable`."""
        place = f"{PRIVATE_FOLDER}/writable-{secrets.token_hex(8)}"
        try:
            with self._told(place):
                self._obstore.put(self._store, place, b"yes")
                self._obstore.delete(self._store, place)
        except OSError as error:
            raise SettingsError(
                f"the storage {self.where!r} cannot be written: {error}; "
                "allowed: a bucket, and AWS_* variables with the right to read, write, list and delete in it"
            ) from None

    def put(self, path: Path, place: str, *, overwrite: bool) -> bool:
        """Upload a local file, in parts where it is large; it is invisible until it is whole.

        Returns:
            False where an object is there and stays.
        """
        kind = mimetypes.guess_type(place)[0]
        attributes = {"Content-Type": kind} if kind else None
        with self._told(place), path.open("rb") as file:
            if overwrite:
                self._obstore.put(
                    self._store,
                    place,
                    file,
                    attributes=attributes,
                    chunk_size=PART_BYTES,
                    max_concurrency=PARTS_AT_ONCE,
                )
                return True
            try:  # S3 has no condition for what comes in parts
                self._obstore.put(self._store, place, file, attributes=attributes, mode="create", use_multipart=False)
            except self._obstore.exceptions.AlreadyExistsError:
                return False
            return True

    def _chunks(self, place: str) -> Iterator[bytes]:
        with self._told(place):
            for chunk in self._obstore.get(self._store, place).stream(min_chunk_size=PIECE_BYTES):
                yield bytes(chunk)

    def _download(self, place: str, path: Path) -> None:
        with path.open("xb") as file:
            for chunk in self._chunks(place):
                file.write(chunk)

    def _age_seconds(self, place: str) -> float:
        """How long ago an object was put there; endless where there is none."""
        try:
            with self._told(place):
                modified: datetime = self._obstore.head(self._store, place)["last_modified"]
        except FileNotFoundError:
            return float("inf")
        return (datetime.now(UTC) - modified).total_seconds()

    @contextmanager
    def _told(self, place: str) -> Iterator[None]:
        """What obstore raises, as an `OSError` of one line."""
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise StorageError(f"{self.where}: {_words(error)}") from None
            raise FileNotFoundError(f"{self.where}/{place}: not there") from None
        except (self._obstore.exceptions.BaseError, PermissionError) as error:
            raise StorageError(f"{self.where}/{place}: {_words(error)}") from None


@dataclass
class Upload:
    """A file on its way into a bucket: written here, uploaded by `commit`."""

    path: Path
    place: str
    storage: ObjectStorage

    def commit(self, *, overwrite: bool = True) -> bool:
        """As `Stage.commit`."""
        return self.storage.put(self.path, self.place, overwrite=overwrite)


def _place(key: str) -> str:
    if key.startswith("/"):
        raise OutputPathError(f"the output {key!r} is outside the storage")
    return safe_key(key)


def _is_on_this_machine() -> bool:
    """Whether the endpoint is a server of this very machine, which needs no TLS."""
    endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "")
    host = urlsplit(endpoint).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _words(error: Any) -> str:
    """An error in one line: S3's own words where it has any, and never what obstore knows of the request."""
    if said := _SAID.search(str(error)):
        return f"{said[1]}: {said[2]}"
    return _REST.sub("", str(error)).strip()[:300]
