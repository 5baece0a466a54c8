"""A batch's results as one page that opens from the disk: no server, nothing from the network."""

from __future__ import annotations

import html
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from replibatch.gallery.packed import Packed, as_script
from replibatch.gallery.results_lines import Line, ResultLines, shown_state
from replibatch.gallery.thumbnails import Thumbnails
from replibatch.storage.atomic import staged

__all__ = ["files_folder", "shown_state", "write_gallery"]

MOST_SHOWN = 20_000  # what a browser opens without effort; the totals count all
MOST_BYTES = 48_000_000  # of data, at most
SCRIPTS = ("data.js", "favourites.js", "arrange.js", "board.js", "viewer.js", "app.js")


def write_gallery(
    results_jsonl: Path, destination: Path, title: str, *, keep_going: Callable[[], bool] = lambda: True
) -> None:
    """Write the page, its data and its thumbnails, each whole or not at all.

    The files it shows are not copied: it names them relative to its own place, so a folder can be moved as a whole.
    Data and thumbnails are in the folder that `files_folder` names. Memory does not grow with the number of results.

    Args:
        results_jsonl: lines of `BatchResult.to_json()` plus `index` and, where there is one, `key`; of one item the
            newest counts. Money counts of every line.
        destination: the page.
        title: its heading.
        keep_going: asked before each thumbnail; False leaves the rest for another time.

    Raises:
        OSError: the results cannot be read, or the page cannot be written.
    """
    folder = files_folder(destination)
    thumbnails = Thumbnails(folder)
    places = _Places(results_jsonl.absolute().parent, destination.absolute().parent)
    packed, totals = Packed(), _Totals()
    with ResultLines(results_jsonl) as lines:
        for line in lines:
            if totals.count < MOST_SHOWN and packed.size < MOST_BYTES:
                packed.add(line, totals.count + 1, _files(line, lines, places, thumbnails))
            totals.add(line)
        totals.earlier = {"count": lines.earlier_count, "cost_usd": round(lines.earlier_cost_usd(), 6)}
        totals.cost_usd = round(totals.cost_usd + totals.earlier["cost_usd"], 6)
    _leave_out_missing(packed, thumbnails.make(keep_going))
    data = {
        "gallery": lines.first_key.hex(),
        "folder": quote(folder.name),
        "aspect": thumbnails.aspect(),
        "totals": vars(totals),
        "values": packed.values,
        "items": packed.items,
    }
    page = _page(title, folder.name)
    _write(folder / "data.js", as_script(data))
    _write(destination, page)


def files_folder(page: Path) -> Path:
    """The folder of a page's data and thumbnails, beside it."""
    return page.with_name(f"{page.stem}_files")


@dataclass
class _Totals:
    """What the page says of the whole batch."""

    count: int = 0
    cost_usd: float = 0.0
    unknown_costs: int = 0
    seconds: float = 0.0
    states: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    earlier: dict[str, Any] = field(default_factory=dict)

    def add(self, line: Line) -> None:
        result = line.result
        self.count += 1
        self.cost_usd = round(self.cost_usd + result.known_cost_usd, 6)
        self.unknown_costs += result.cost_usd is None
        self.seconds = round(self.seconds + sum(attempt.seconds for attempt in result.attempts), 3)
        self.states[line.state] += 1
        self.models[result.model_used or result.model_name] += 1


@dataclass(frozen=True)
class _Places:
    """Where the results and the page are."""

    results: Path
    page: Path

    def address(self, path: str) -> str:
        """A file's address as the page names it, percent-encoded."""
        whole = self.results / path
        try:
            return quote(Path(os.path.relpath(whole, self.page)).as_posix())
        except ValueError:  # another drive of Windows
            return whole.as_uri()


def _files(line: Line, lines: ResultLines, places: _Places, thumbnails: Thumbnails) -> list[list[str]]:
    """Of each file of an item the address and the name of its thumbnail."""
    return [
        [places.address(file.path), thumbnails.name_for(places.results / file.path, file.sha256)]
        for file in line.result.files
        if lines.owns(line, file.path)
    ]


def _leave_out_missing(packed: Packed, there: set[str]) -> None:
    """Name no thumbnail that could not be made: the page shows the picture itself."""
    for item in packed.items:
        for file in item[9]:
            if file[1] not in there:
                file[1] = ""


def _page(title: str, folder: str) -> str:
    named = {
        "title": html.escape(title),
        "data": html.escape(quote(f"{folder}/data.js")),
        "folder": html.escape(folder),
        "style": _asset("page.css"),
        "script": "".join(_asset(name) for name in SCRIPTS),
    }
    first, *rest = _asset("page.html").split("{{")
    parts = [first]
    for part in rest:
        name, _, following = part.partition("}}")
        parts += [named[name], following]
    return "".join(parts)


def _write(path: Path, text: str) -> None:
    with staged(path) as stage:
        stage.path.write_text(text, encoding="utf-8")
        stage.commit()


def _asset(name: str) -> str:
    return (resources.files("replibatch.gallery") / "assets" / name).read_text(encoding="utf-8")
