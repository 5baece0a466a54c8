"""`replibatch demo`: the first thing anybody runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-P", "-m", "replibatch", "demo"]


def test_the_demo_shows_a_fallback_a_placeholder_and_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is set here must not reach it, least of all a real account.
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_of_somebody")
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", "redis://127.0.0.1:1/0")
    Path(".env").write_text("REPLICATE_GLOBAL_MAX_CONCURRENT=1\nREPLIBATCH_STORAGE_URL=elsewhere\n")
    began = time.monotonic()
    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 60
    assert "4 in flight at most, of 4 allowed" in done.stdout
    assert "imagen-4-ultra after nano-banana (failed)" in done.stdout
    assert "a black image after qwen-image (sensitive)" in done.stdout
    assert "0 paid twice" in done.stdout
    assert "Traceback" not in done.stderr

    folder = Path("replibatch-demo")
    results = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert len(results) == 12 and sum(result["success"] for result in results) == 11
    assert len({result["model_used"] for result in results if result["success"]}) >= 3
    assert all((folder / path).is_file() for result in results for path in result["file_paths"])
    assert all((folder / path).stat().st_size for result in results for path in result["file_paths"])
    assert "{{" not in (folder / "gallery.html").read_text()
    assert "A lighthouse above a sea of clouds" in (folder / "gallery_files/data.js").read_text()
    assert not Path("elsewhere").exists()


def test_a_demo_of_another_size_goes_where_it_is_told() -> None:
    done = subprocess.run(
        [*COMMAND, "--count", "1", "-o", "there"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(list(Path("there").glob("0001-*.webp"))) == 1
