"""Items of several steps, made by real workers: each step once, one result an item."""

from __future__ import annotations

from pathlib import Path

import pytest

import replibatch
from replibatch.sandbox import Sandbox
from tests.support.chains import IMAGE, QUICK, UPSCALE, VIDEO, bills, check_steps_once, films
from tests.support.custody import Start, check_nothing_left


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder of its own, quick models."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "replibatch.toml").write_text(QUICK)
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "files"))


def test_every_step_is_made_once_of_what_the_one_before_made(
    start_worker: Start, sandbox: Sandbox, tmp_path: Path, fleet: str
) -> None:
    start_worker("--concurrency", "4")
    results = replibatch.enqueue_batch(films(3)).results(60)
    check_steps_once(results, 3, sandbox, tmp_path / "files", (IMAGE, UPSCALE, VIDEO))
    for result in results:
        first, second, _ = result.steps
        images = [bill.input["image"] for bill in bills(sandbox, UPSCALE)]
        starts = [bill.input["start_image"] for bill in bills(sandbox, VIDEO)]
        assert first.files[0].url in images and second.files[0].url in starts  # Replicate's own addresses
    check_nothing_left(fleet)
