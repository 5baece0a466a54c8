"""A notebook shows a result's pictures, and what made them; nothing in a prompt is markup there."""

from __future__ import annotations

import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PIL import Image

from replibatch import display
from replibatch.requests import BatchResult, OutputFile, State


def result(folder: Path, **changes: Any) -> BatchResult:
    Image.new("RGB", (900, 600), "teal").save(folder / "1.png")
    values: dict[str, Any] = {
        "model_used": "m/one",
        "success": True,
        "files": (OutputFile(str(folder / "1.png")),),
        "cost_usd": 0.025,
    }
    return BatchResult("1", "a <b>fox</b>", "m/one", **{**values, **changes})


def test_a_result_shows_its_picture_small(tmp_path: Path) -> None:
    shown = display.html_of(result(tmp_path))
    assert "a &lt;b&gt;fox" in shown and "m/one" in shown and "$0.025" in shown
    found = re.search('data:image/jpeg;base64,([^"]+)', shown)
    assert found is not None
    with Image.open(BytesIO(b64decode(found[1]))) as image:
        assert image.size == (320, 213)


def test_what_has_no_picture_says_why(tmp_path: Path) -> None:
    failed = result(tmp_path, success=False, files=(), model_used=None, state=State.FAILED, error="it would not")
    assert "it would not" in display.html_of(failed)
    gone = result(tmp_path, files=(OutputFile("gone.png"),))
    assert "gone.png" in display.html_of([gone])
    assert "no results yet" in display.html_of([])


def test_a_large_batch_shows_its_first(tmp_path: Path) -> None:
    many = [result(tmp_path, files=())] * (display.MOST_SHOWN + 5)
    assert "and 5 more" in display.html_of(many)


def test_a_notebook_is_told_how_to_show_them(tmp_path: Path) -> None:
    known: dict[type, Any] = {}
    formatter = SimpleNamespace(for_type=known.__setitem__)
    shell = SimpleNamespace(display_formatter=SimpleNamespace(formatters={"text/html": formatter}))
    display.load_ipython_extension(shell)
    assert "m/one" in known[BatchResult](result(tmp_path))
