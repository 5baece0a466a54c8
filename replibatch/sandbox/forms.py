"""The forms an output can have: recorded forms, and values that are no output at all.

A form holds a file as a `FileRef`; the view of the prediction turns it into an address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from replibatch.sandbox import media

DEFAULT_MANY = 3
REFUSAL = "I'm sorry, but I can't create that image. Would you like me to suggest something else?"


@dataclass(frozen=True)
class FileRef:
    """A file of the prediction's own.

    Attributes:
        name: `0.png`.
        form: of the address: `url`, `relative`, `protocol-relative`, or `data`, for one that holds the file itself.
    """

    name: str
    form: str = "url"


Make = Callable[[int, str, str], Any]  # from a number, the usual extension and the prompt to an output


def _files(count: int, extension: str) -> list[FileRef]:
    return [FileRef(f"{number}.{extension}") for number in range(count)]


def _one(extension: str, form: str = "url") -> Make:
    return lambda _number, _usual, _prompt: FileRef(f"0.{extension}", form)


def _constant(value: Any) -> Make:
    return lambda _number, _usual, _prompt: value


def _usual(form: str) -> Make:
    return lambda _number, usual, _prompt: FileRef(f"0.{usual}", form)


def _gaps(_number: int, usual: str, _prompt: str) -> Any:
    first, last = FileRef(f"0.{usual}"), FileRef(f"3.{usual}")
    return [first, None, None, last]


def _masks(_number: int, _usual: str, _prompt: str) -> Any:
    labels = ((0.98, "fox"), (0.87, "tree"))
    return [
        {"mask": FileRef(f"{place}.png"), "label": label, "score": score}
        for place, (score, label) in enumerate(labels)
    ]


def _segments(_number: int, _usual: str, prompt: str) -> Any:
    return {
        "segments": [{"start": 0.0, "end": 1.5, "text": prompt}],
        "detected_language": "english",
        "txt_file": FileRef("0.txt"),
        "srt_file": None,
    }


FORMS: dict[str, Make] = {
    "null-output": _constant(None),
    "empty-list": _constant([]),
    "data-uri": _constant(f"data:image/png;base64,{media.GREY_BASE64}"),
    "text": lambda _number, _usual, prompt: f"A text about: {prompt}",
    "text-pieces": lambda _number, _usual, prompt: ["A text", " about:", f" {prompt}"],
    "many": lambda number, usual, _: _files(number, usual),
    "output-many": lambda number, usual, _: _files(number, usual),
    # What a model that makes pictures gives instead of one.
    "output-true": _constant(True),
    "output-false": _constant(False),
    "output-zero": _constant(0),
    "output-number": _constant(0.87),
    "output-words": _constant(REFUSAL),
    "output-empty-text": _constant(""),
    "output-base64": _constant(media.GREY_BASE64),
    "output-error": _constant({"error": "Request Moderated"}),
    "output-error-list": _constant([{"error": "Request Moderated"}]),
    "output-empty-object": _constant({}),
    "output-nulls": _constant([None, None]),
    # Addresses.
    "output-relative": _usual("relative"),
    "output-protocol-relative": _usual("protocol-relative"),
    "output-data-uris": lambda number, _usual, _prompt: [FileRef(f"{place}.png", "data") for place in range(number)],
    "output-other-scheme": _constant("gs://replicate-files/0.png"),
    "output-local-path": _constant("/tmp/tmpab12/out-0.png"),  # noqa: S108  # never opened
    "output-private-address": _constant("http://169.254.169.254/latest/meta-data/"),
    # Several, and what stands beside them.
    "output-gaps": _gaps,
    "output-nested": lambda number, usual, _: [[file] for file in _files(number, usual)],
    "output-file": lambda _number, usual, _prompt: {"file": FileRef(f"0.{usual}")},
    "output-masks": _masks,
    "output-payload": lambda _number, usual, _: {"image": FileRef(f"0.{usual}"), "payload": '{"seed":7}'},
    "output-seeds": lambda number, usual, _: {"images": _files(number, usual), "seeds": list(range(number))},
    "output-segments": _segments,
    "output-texts": lambda number, _usual, prompt: [f"{prompt} {place}" for place in range(number)],
    "output-object": _constant({"score": 0.87, "labels": ["fox", "snow"], "ok": True}),
    # Kinds of files.
    **{f"output-{extension}": _one(extension) for extension in media.EXTENSIONS},
}


def file_refs(value: Any) -> Iterator[FileRef]:
    """Every file that an output names."""
    if isinstance(value, FileRef):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from file_refs(item)


def told(value: Any, address: Callable[[FileRef], str]) -> Any:
    """The output with addresses for its files."""
    if isinstance(value, FileRef):
        return address(value)
    if isinstance(value, list):
        return [told(item, address) for item in value]
    if isinstance(value, dict):
        return {name: told(item, address) for name, item in value.items()}
    return value
