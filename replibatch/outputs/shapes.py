"""What a finished prediction's `output` can be, as a list of parts to save."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from replibatch.data_uris import decoded, is_data_uri
from replibatch.errors import NoOutput


@dataclass(frozen=True)
class UrlPart:
    """A file behind an `http:` or `https:` address."""

    url: str


@dataclass(frozen=True)
class DataPart:
    """A file inside the output itself, as a `data:` URI."""

    uri: str

    def chunks(self) -> Iterator[bytes]:
        """The decoded bytes, a piece at a time.

        Raises:
            NoOutput: it is malformed, so there is nothing to save.
        """
        try:
            yield from decoded(self.uri)
        except ValueError as error:
            raise NoOutput(f"the output is a malformed data: URI: {error}") from error


@dataclass(frozen=True)
class TextPart:
    """A text, to be written as UTF-8."""

    text: str


Part = UrlPart | DataPart | TextPart


def parts(output: Any) -> list[Part]:
    """What there is to save.

    Files (addresses and `data:` URIs) count wherever they are, in lists and in the values of dicts, in their order.
    Where there are none, the output is one text: a list of texts is one in pieces, as language models stream it, and
    anything else is written as JSON.

    Args:
        output: the prediction's `output`, decoded from JSON.

    Raises:
        NoOutput: null, or nothing but empty texts and lists.
    """
    leaves = [leaf for leaf in _leaves(output) if leaf not in (None, "")]
    files: list[Part] = [part for part in map(_file, leaves) if part]
    if files:
        return files
    if all(isinstance(leaf, str) for leaf in leaves) and not isinstance(output, dict):
        text = "".join(leaves)
    else:
        text = json.dumps(output, ensure_ascii=False, indent=2) if leaves else ""
    if not text.strip():
        raise NoOutput(f"the prediction succeeded, but its output is {_shortened(output)}")
    return [TextPart(text)]


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _file(leaf: Any) -> UrlPart | DataPart | None:
    if not isinstance(leaf, str):
        return None
    text = leaf.strip()
    if is_data_uri(text):
        return DataPart(text)
    if text[:8].lower().startswith(("http://", "https://")) and len(text.split()) == 1 and _has_host(text):
        return UrlPart(text)
    return None


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False


def _shortened(output: Any) -> str:
    text = json.dumps(output)
    return text if len(text) <= 60 else f"{text[:57]}..."
