"""Results in a notebook: `import replibatch.display`, and a result shows its pictures, a batch a page of pictures.

A progress bar for a batch comes with it, by tqdm where that is installed and by rich elsewhere.
"""

from __future__ import annotations

import base64
import html
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from io import BytesIO
from typing import Any

from PIL import Image
from rich.progress import track

from replibatch.gallery.results_lines import shown_state
from replibatch.gallery.thumbnails import thumbnail
from replibatch.outputs.images import DAMAGED
from replibatch.producer import Batch, Job
from replibatch.requests import BatchResult, OutputFile

EDGE_PIXELS = 320
MOST_SHOWN = 60  # pictures of a batch: a notebook keeps what it shows

__all__ = ["html_of", "load_ipython_extension", "progress"]


def html_of(shown: BatchResult | Batch | Job | Iterable[BatchResult]) -> str:
    """Pictures and what made them, as HTML that needs no other file.

    Args:
        shown: a result, several, or a batch or job as far as it is; it does not wait for unfinished work.
    """
    results = list(_results(shown))
    cards = "".join(map(_card, results[:MOST_SHOWN]))
    rest = f"<p>… and {len(results) - MOST_SHOWN:,} more</p>" if len(results) > MOST_SHOWN else ""
    empty = "" if results else "<p>no results yet</p>"
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px">{cards}</div>{rest}{empty}'


def progress(batch: Batch) -> Iterator[BatchResult]:
    """The results of a batch as they finish, with a progress bar.

    Args:
        batch: from `enqueue_batch`.
    """
    total = batch.progress().total
    try:
        bars = import_module("tqdm.auto")  # a notebook has it where the user installed it
    except ImportError:
        yield from track(batch, description=batch.id, total=total)
    else:
        yield from bars.tqdm(batch, total=total, desc=batch.id)


def load_ipython_extension(shell: Any) -> None:
    """Show results, batches and jobs as pictures; `%load_ext replibatch.display`, or importing it, does that."""
    formatter = shell.display_formatter.formatters["text/html"]
    for kind in (BatchResult, Batch, Job):
        formatter.for_type(kind, html_of)


def _results(shown: BatchResult | Batch | Job | Iterable[BatchResult]) -> Iterator[BatchResult]:
    match shown:
        case BatchResult():
            yield shown
        case Batch():
            yield from shown.so_far()
        case Job():
            if shown.status().is_final:
                yield shown.result()
        case _:
            yield from shown


def _card(result: BatchResult) -> str:
    pictures = "".join(_picture(file) for file in result.files)
    words = html.escape((result.prompt or "")[:200])
    cost = "cost unknown" if result.cost_usd is None else f"${result.cost_usd:,.4g}"
    model = html.escape(result.model_used or result.model_name)
    why = f"<br>{html.escape((result.error or '')[:200])}" if not result.success else ""
    facts = f"{model} · {shown_state(result)} · {cost} · {result.duration:.1f} s{why}"
    style = f"max-width:{EDGE_PIXELS}px;margin:0"
    return f'<figure style="{style}">{pictures}<figcaption>{words}<br><small>{facts}</small></figcaption></figure>'


def _picture(file: OutputFile) -> str:
    buffer = BytesIO()
    try:
        thumbnail(BytesIO(file.read()), EDGE_PIXELS).save(buffer, "JPEG", quality=80)
    except (*DAMAGED, Image.DecompressionBombError):
        return f"<p>{html.escape(file.path)}</p>"
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


if (notebook := sys.modules.get("IPython")) and (shell := notebook.get_ipython()):
    load_ipython_extension(shell)  # IPython is loaded already wherever a notebook runs
