"""A recipe of four steps with a branch, as JSONL, TOML and Python: the same creates, the same books."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from replibatch import OUTPUT, BatchRequest, enqueue_batch
from replibatch.sandbox import Sandbox
from tests.support.chains import IMAGE, QUICK, UPSCALE, VIDEO
from tests.support.commands import replibatch, results
from tests.support.custody import Start

KONTEXT = "black-forest-labs/flux-kontext-max"
STEPS: list[dict[str, Any]] = [
    {"model": UPSCALE, "image": "OUTPUT"},
    {"model": VIDEO, "prompt": "{prompt}, it moves", "start_image": "OUTPUT[0]", "duration": 5},
    {"model": KONTEXT, "prompt": "{prompt}, by night", "input_image": "OUTPUT", "after": 1, "seed": 7},
]
TOML = "".join(
    "[[step]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in step.items()) for step in STEPS
)
PROMPTS = ["a red fox", "a blue owl"]


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder of its own, quick models."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "replibatch.toml").write_text(QUICK)
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "files"))


def books(sandbox: Sandbox) -> list[tuple[str, str, str]]:
    """What was made, by model and prompt, without addresses and seeds; forgotten afterwards."""
    seen = sorted(
        (
            bill.model,
            str(bill.input.get("prompt", "")),
            json.dumps({name: value for name, value in bill.input.items() if "image" not in name and name != "seed"}),
        )
        for bill in sandbox.books.bills()
        for _ in bill.prediction_ids
    )
    assert sandbox.books.paid_twice() == []
    sandbox.books.reset()
    return seen


def test_the_same_books_as_jsonl_toml_and_python(start_worker: Start, sandbox: Sandbox, tmp_path: Path) -> None:
    start_worker("--concurrency", "8")
    Path("lines.jsonl").write_text("".join(json.dumps({"prompt": each, "then": STEPS}) + "\n" for each in PROMPTS))
    Path("prompts.txt").write_text("\n".join(PROMPTS) + "\n")
    Path("film.toml").write_text(TOML)
    dry = replibatch("run", "prompts.txt", "-m", IMAGE, "--recipe", "film.toml", "-o", "toml", "--dry-run", "--json")
    plan = json.loads(dry.stdout)
    assert (plan["items"], plan["predictions"]) == (2, 8) and plan["cost_usd"] == pytest.approx(2 * 1.511)
    jsonl = replibatch("run", "lines.jsonl", "-m", IMAGE, "-o", "jsonl", "--yes")
    assert jsonl.returncode == 0, jsonl.stderr
    made = books(sandbox)
    toml = replibatch("run", "prompts.txt", "-m", IMAGE, "--recipe", "film.toml", "-o", "toml", "--yes")
    assert toml.returncode == 0, toml.stderr
    assert books(sandbox) == made and len(made) == 8
    list(
        enqueue_batch(
            BatchRequest(each, IMAGE)
            .then(UPSCALE, image=OUTPUT)
            .then(VIDEO, f"{each}, it moves", start_image=OUTPUT[0], duration=5)
            .then(KONTEXT, f"{each}, by night", input_image=OUTPUT, after=1, seed=7)
            for each in PROMPTS
        )
    )
    assert books(sandbox) == made
    for folder in ("jsonl", "toml"):
        lines = results(folder)
        assert [[attempt["step"] for attempt in line["attempts"]] for line in lines] == [[1, 2, 3, 4]] * 2
        for line in lines:
            assert all((Path(folder) / path).is_file() for path in line["file_paths"]) and len(line["files"]) == 2
            assert all((Path(folder) / file["path"]).is_file() for step in line["steps"] for file in step["files"])
    again = replibatch("run", "prompts.txt", "-m", IMAGE, "--recipe", "film.toml", "-o", "toml", "--yes")
    assert again.returncode == 0 and books(sandbox) == [], again.stderr


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("upscale", "then is 'upscale'"),
        ([{"image": "OUTPUT"}], "step 2"),
        ([{"model": UPSCALE, "image": "a.png"}], "uses nothing of step 1"),
        ([{"model": UPSCALE, "image": "OUTPUT", "after": 3}], "after is 3"),
        ([{"model": "no/such", "image": "OUTPUT"}], "step 2: Model 'no/such' is not supported"),
        ([{"model": UPSCALE, "image": "OUTPUT", "scale": 4}], "no input 'scale'"),
    ],
)
def test_what_is_no_recipe_is_refused_before_anything_is_paid_for(sandbox: Sandbox, then: Any, said: str) -> None:
    Path("lines.jsonl").write_text(json.dumps({"prompt": "a fox", "then": then}))
    refused = replibatch("run", "lines.jsonl", "-m", IMAGE, "-o", "out", "--dry-run")
    assert said in refused.stderr + refused.stdout and "Traceback" not in refused.stderr
    assert refused.returncode == (0 if "no input" in said else 2)
    assert not sandbox.books.bills()
