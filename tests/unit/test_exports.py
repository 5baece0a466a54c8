"""Results as tables and data sets: every item, nothing invented, and readable by the tools they are for."""

from __future__ import annotations

import csv
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from PIL import Image

from replibatch.exports import write_csv, write_imagefolder, write_parquet, write_webdataset
from replibatch.gallery.contact_sheet import write_contact_sheets
from replibatch.gallery.results_lines import Line, parsed
from replibatch.requests import Attempt, BatchResult, OutputFile, State
from tests.support.catalogue import FLUX, QWEN


def line(index: int, folder: Path, **changes: Any) -> Line:
    """The result of an item, with its picture."""
    (folder / f"{index}.png").parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (80, 60), "teal").save(folder / f"{index}.png")
    model = (FLUX, QWEN)[index % 2]
    values: dict[str, Any] = {
        "prompt": f'a "fox", {index // 2}\nin snow',
        "model_name": model,
        "model_used": model,
        "success": True,
        "files": (OutputFile(f"{index}.png"),),
        "attempts": (Attempt(model, f"p{index}", "succeeded", None, None, 1.0, 0.025),),
        "cost_usd": 0.025,
        "inputs": {"prompt": "x", "seed": index, "guidance": 3 if index else 3.5},
    }
    fields = changes.pop("fields", {"style": f"s{index}"})
    result = BatchResult(str(index), **{**values, **changes})
    found = parsed(json.dumps({"index": index, "key": f"{index:02x}", **result.to_json(), "fields": fields}))
    assert found is not None
    return found


@pytest.fixture
def lines(tmp_path: Path) -> list[Line]:
    failed = {
        "success": False,
        "model_used": None,
        "files": (),
        "state": State.FAILED,
        "error": "no",
        "cost_usd": 0.0,
    }
    two = {"files": (OutputFile("2.png"), OutputFile("0.png"))}
    return [line(0, tmp_path), line(1, tmp_path), line(2, tmp_path, **two), line(3, tmp_path, fields={}, **failed)]


def test_csv_has_a_row_a_file_and_one_where_there_is_none(tmp_path: Path, lines: list[Line]) -> None:
    assert write_csv(lambda: lines, tmp_path / "t.csv") == 5
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["0.png", "1.png", "2.png", "0.png", ""]
    assert rows[0]["prompt"] == 'a "fox", 0\nin snow'
    assert (rows[0]["input.seed"], rows[0]["field.style"], rows[4]["field.style"]) == ("0", "s0", "")
    assert (rows[4]["state"], rows[4]["error"]) == ("failed", "no")


def test_parquet_has_the_types(tmp_path: Path, lines: list[Line]) -> None:
    odd = line(4, tmp_path, fields={"style": ["a", 1], "big": 1 << 70, "ok": True})
    assert write_parquet(lambda: [*lines, odd], tmp_path / "t.parquet") == 6
    table = pyarrow.parquet.read_table(tmp_path / "t.parquet")
    assert str(table.schema.field("input.guidance").type) == "double"
    assert str(table.schema.field("input.seed").type) == "int64"
    assert table.column("field.style").to_pylist()[-1] == '["a", 1]'
    assert table.column("field.big").to_pylist()[-1] == str(1 << 70)
    assert table.column("field.ok").to_pylist() == [None] * 5 + [True]


def test_imagefolder(tmp_path: Path, lines: list[Line]) -> None:
    out = tmp_path / "set"
    assert write_imagefolder(lines, tmp_path, out) == 4
    rows = [json.loads(row) for row in (out / "metadata.jsonl").read_text().splitlines()]
    assert all((out / row["file_name"]).is_file() for row in rows)
    assert len({row["file_name"] for row in rows}) == 4
    assert rows[0]["text"] == 'a "fox", 0\nin snow' and rows[0]["field.style"] == "s0"
    assert write_imagefolder(lines, tmp_path, out) == 4  # again, over itself


def test_webdataset_shards(tmp_path: Path, lines: list[Line]) -> None:
    assert write_webdataset(lines, tmp_path, tmp_path / "set", shard_bytes=3000) == 4
    shards = sorted((tmp_path / "set").glob("shard-*.tar"))
    assert len(shards) > 1
    names: list[str] = []
    for shard in shards:
        with tarfile.open(shard) as found:
            names += found.getnames()
            told = json.load(found.extractfile(found.getnames()[1]))  # type: ignore[arg-type]
            assert told["prompt"].startswith("a ")
    assert len(names) == len(set(names)) == 12
    keys = [name.split(".")[0] for name in names]
    assert keys == sorted(keys)  # what belongs together stands together


def test_contact_sheets(tmp_path: Path, lines: list[Line]) -> None:
    many = [line(number, tmp_path) for number in range(40)]
    pages = write_contact_sheets(many, tmp_path, tmp_path / "sheet.png", "Foxes")
    assert [page.name for page in pages] == [f"sheet-{number}.png" for number in range(1, len(pages) + 1)]
    assert len(pages) > 1
    with Image.open(pages[0]) as page:
        assert page.width == 1384  # two models
        teal = sum(count for count, colour in page.getcolors(1 << 24) if colour[1] > 120 > colour[0])
        assert teal == 12 * 80 * 60  # six rows of two
    (single,) = write_contact_sheets(lines, tmp_path, tmp_path / "few.jpg", "A few \x1b[31m")
    assert single.name == "few.jpg"


def test_nothing_at_all(tmp_path: Path) -> None:
    def none() -> Iterator[Line]:
        yield from ()

    assert write_csv(none, tmp_path / "t.csv") == 0
    assert write_parquet(none, tmp_path / "t.parquet") == 0
    assert write_webdataset(none(), tmp_path, tmp_path / "set") == 0
    assert write_imagefolder(none(), tmp_path, tmp_path / "images") == 0
    assert len(write_contact_sheets(none(), tmp_path, tmp_path / "sheet.jpg", "Nothing")) == 1
