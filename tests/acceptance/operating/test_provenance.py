"""What made a file is in the file: shown, and made again, it is the same create."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from replibatch.sandbox import Sandbox
from tests.support.catalogue import FLUX, IMAGEN, NANO, QWEN
from tests.support.commands import replibatch, write_lines

ITEMS = [
    {
        "prompt": 'a "red" fox\nsnow < 2 & rain > 1, 雪',
        "model": FLUX,
        "guidance": 3.0,
        "output": "fox.jpg",
        "mood": "calm",
    },
    {"prompt": "an owl", "model": QWEN, "seed": 11, "aspect_ratio": "16:9", "output": "owl.png", "id": "owl"},
    {"prompt": "a heron", "model": FLUX, "output_format": "webp"},
    {"prompt": "a wren", "model": NANO, "output": "wren.webp"},  # made by a fallback
]


def test_what_show_gives_back_makes_the_same_create_again(sandbox: Sandbox) -> None:
    sandbox.settings.broken_models = frozenset({NANO})
    write_lines(ITEMS)
    assert replibatch("run", "list.jsonl", "-o", "out", "--metadata", "full").returncode == 0
    results = [json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines()]
    made = {result["prompt"]: result for result in results}

    moved = Path("alone")  # away from results.jsonl: the files speak for themselves
    moved.mkdir()
    shown = []
    for result in results:
        (path,) = result["file_paths"]
        copy = shutil.copy(Path("out") / path, moved)
        said = replibatch("show", str(copy), "--json")
        assert said.returncode == 0, said.stderr
        shown.append(json.loads(said.stdout))
        told = replibatch("show", str(copy)).stdout
        assert result["model_used"] in told and result["attempts"][-1]["prediction_id"] in told and "$0.0" in told
    write_lines(shown, "again.jsonl")
    done = replibatch("run", "again.jsonl", "-o", "again", "--no-fallback")
    assert done.returncode == 0, done.stderr

    for line in shown:
        inputs = made[line["prompt"]]["inputs"]
        bill = sandbox.books.bill(line["model"], inputs)
        assert len(bill.prediction_ids) == 2, line
        again = [json.loads(each) for each in Path("again/results.jsonl").read_text().splitlines()]
        (same,) = (each["inputs"] for each in again if each["prompt"] == line["prompt"])
        assert json.dumps(same) == json.dumps(inputs)  # to the byte, order included


@pytest.mark.parametrize("form", ["none", "source"])
def test_what_is_not_asked_for_is_not_written(sandbox: Sandbox, form: str) -> None:
    write_lines(ITEMS[:2])
    assert replibatch("run", "list.jsonl", "-o", "out", "--metadata", form).returncode == 0
    content = Path("out/fox.jpg").read_bytes()
    assert (b"trainedAlgorithmicMedia" in content) == (form == "source")
    assert b"snow" not in content
    told = replibatch("show", "out/fox.jpg").stdout  # results.jsonl knows
    assert "calm" not in told or "mood" in told
    assert FLUX in told and "results.jsonl" in told
    Path("out/results.jsonl").unlink()
    said = replibatch("show", "out/fox.jpg", "--json")
    assert said.returncode == 1 and "Traceback" not in said.stderr


def test_exiftool_reads_the_fields(sandbox: Sandbox) -> None:
    if not (exiftool := shutil.which("exiftool")):
        pytest.skip("no exiftool on PATH; on Debian: apt-get install libimage-exiftool-perl")
    write_lines(ITEMS[:3])
    assert replibatch("run", "list.jsonl", "-o", "out", "--metadata", "full").returncode == 0
    for path in Path("out").iterdir():
        if path.suffix in (".jpg", ".png", ".webp"):
            said = subprocess.run(
                [exiftool, "-j", "-validate", "-all", path], capture_output=True, text=True, check=True
            )
            (fields,) = json.loads(said.stdout)
            assert fields["Validate"] == "OK"
            assert fields["DigitalSourceType"].endswith("rainedAlgorithmicMedia")
            assert fields["AISystemUsed"] in (FLUX, QWEN)
            Image.open(path).load()


def test_a_file_nobody_knows_is_one_line(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save("mine.png")
    said = replibatch("show", "mine.png")
    assert said.returncode == 1
    assert said.stderr.count("\n") == 1 and "expected" in said.stderr
    assert replibatch("show", "none.png").returncode == 2
    assert IMAGEN not in said.stdout
