"""Lists as people have them, through whole runs: what was sent and billed is what the stand-in's own books say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from replibatch.sandbox import Sandbox
from tests.support.commands import MODEL, replibatch, results, write_lines

BANANA, IMAGEN, KONTEXT = "google/nano-banana", "google/imagen-4-ultra", "black-forest-labs/flux-kontext-max"


@pytest.fixture(autouse=True)
def at_work(sandbox: Sandbox, start_worker: Callable[..., object], quick_models: None) -> None:
    Path("refs").mkdir()
    Image.new("RGB", (8, 8), "red").save("refs/a.png")
    start_worker()


def sent(sandbox: Sandbox) -> list[tuple[str, dict[str, Any]]]:
    """What was created, without seeds that were made up."""
    return sorted(
        (
            (bill.model, {key: value for key, value in bill.input.items() if key != "seed"})
            for bill in sandbox.books.bills()
        ),
        key=str,
    )


def made(*arguments: str, code: int = 0, **options: Any) -> str:
    """What `run` says; it is looked at with `--dry-run` first, which has to say the same and create nothing."""
    done = replibatch("run", *arguments, "-o", "out", **options)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr


def ahead(*arguments: str, code: int = 0, **options: Any) -> str:
    """What `run --dry-run` says."""
    done = replibatch("run", *arguments, "-o", "out", "--dry-run", **options)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_json_on_standard_input_is_not_paid_for_line_by_line(sandbox: Sandbox) -> None:
    document = '[\n {\n  "prompt": "A fox"\n }\n]\n'
    assert "1 item to make" in ahead("-", "-m", MODEL, input=document)
    assert "standard input: JSON" in made("-", "-m", MODEL, input=document)
    Path("list.txt").write_text(document.replace("fox", "hen"))
    assert "list.txt: JSON" in made("list.txt", "-m", MODEL)
    Path("table.txt").write_text("prompt,seed\nA cat,7\n")
    made("table.txt", "-m", MODEL)
    nul = "A dog".encode("utf-16-le").decode("latin-1")
    assert "--encoding utf-16-le" in made("-", "-m", MODEL, code=2, input=nul)
    assert [inputs["prompt"] for _, inputs in sent(sandbox)] == ["A cat", "A fox", "A hen"]


def test_a_reference_image_is_sent_or_asked_about(sandbox: Sandbox) -> None:
    Path("list.csv").write_text("Prompt,Image\nput a hat on it,refs/a.png\n")
    assert "Image → image" in ahead("list.csv", "-m", BANANA)
    made("list.csv", "-m", BANANA)
    Path("other.csv").write_text("prompt,image_path\nput a hat on it,refs/a.png\n")
    for say in (ahead, made):
        assert "--map image_input=image_path" in say("other.csv", "-m", BANANA, code=2)
    ((model, inputs),) = sent(sandbox)
    assert model == BANANA and len(inputs["image_input"]) == 1 and inputs["image_input"][0].startswith("http")


def test_an_earlier_result_does_not_change_the_model(sandbox: Sandbox) -> None:
    Path("list.csv").write_text("prompt,image_url\na fox,https://replicate.delivery/pbxt/out.webp\n")
    for say in (ahead, made):
        assert "--ignore image_url" in say("list.csv", "-m", MODEL, code=2)
    made("list.csv", "-m", MODEL, "--ignore", "image_url")
    assert [model for model, _ in sent(sandbox)] == [MODEL] and sandbox.books.cost_usd == pytest.approx(0.025)


def test_names_of_inputs_are_matched_or_asked_about(sandbox: Sandbox) -> None:
    Path("list.csv").write_text("prompt,Aspect_Ratio,Negative Prompt\na fox,1:1,blur\n")
    made("list.csv", "-m", MODEL, "-i", "go-fast=false")
    Path("steps.csv").write_text("prompt,steps,cfg_scale,model_name\na hen,20,7,x\n")
    for say in (ahead, made):
        told = say("steps.csv", "-m", MODEL, code=2)
        assert all(f"--ignore {name}" in told for name in ("steps", "cfg_scale", "model_name"))
        assert "has no input 'aspect-rato'" in say("list.csv", "-m", MODEL, "-i", "aspect-rato=16:9", code=2)
    ((_, inputs),) = sent(sandbox)
    assert (inputs["aspect_ratio"], inputs["negative_prompt"], inputs["go_fast"]) == ("1:1", "blur", False)


def test_a_model_is_switched_where_that_is_said_and_never_without_fallbacks(sandbox: Sandbox) -> None:
    Path("list.csv").write_text("prompt,negative_prompt\na fox,blur\n")
    assert "qwen-image instead of flux-kontext-max" in ahead("list.csv", "-m", KONTEXT)
    told = made("list.csv", "-m", KONTEXT, "--no-fallback")
    assert "has no input 'negative_prompt'; left out" in told
    Path("picture.csv").write_text("prompt,image\na fox,refs/a.png\n")
    for say in (ahead, made):
        assert "imagen-4-ultra; allowed: none" in say("picture.csv", "-m", IMAGEN, "--no-fallback", code=2)
    ((model, inputs),) = sent(sandbox)
    assert model == KONTEXT and "negative_prompt" not in inputs
    made("list.csv", "-m", KONTEXT)
    assert [model for model, _ in sent(sandbox)] == [KONTEXT, MODEL]


def test_every_model_makes_every_line_and_every_value_is_varied(sandbox: Sandbox) -> None:
    Path("list.csv").write_text("id,prompt,rating\nfox,a fox,5\n")
    arguments = ("list.csv", "-m", MODEL, "-m", "black-forest-labs/flux-dev", "--vary", "seed=1..2", "--samples", "1")
    assert "4 items to make" in ahead(*arguments)
    made(*arguments, "--name", "{id}/{model}-{seed}.{ext}")
    assert sorted(path.relative_to("out").as_posix() for path in Path("out/fox").iterdir()) == [
        "fox/flux-dev-1.webp", "fox/flux-dev-2.webp", "fox/qwen-image-1.webp", "fox/qwen-image-2.webp"
    ]  # fmt: skip
    assert all(line["fields"] == {"rating": "5"} for line in results())
    assert "4 made before" in ahead(*arguments, "--name", "{id}/{model}-{seed}.{ext}")
    assert len(sandbox.books.create_times) == 4
    samples = ("list.csv", "-m", MODEL, "--samples", "3")
    made(*samples)
    assert len(sandbox.books.create_times) == 7
    made("list.csv", "-m", MODEL, "--samples", "4")
    assert len(sandbox.books.create_times) == 8


LINES = [{"prompt": f"a fox, number {number}", "seed": number, "go_fast": True} for number in range(6)]


def test_what_an_item_is_survives_what_is_not_sent(sandbox: Sandbox) -> None:
    def csv(
        name: str, seed: str = "{}", truth: str = "true", more: str = "", header: str = "prompt,seed,go_fast"
    ) -> str:
        rows = [f'"{line["prompt"]}",{seed.format(line["seed"])},{truth}{more}' for line in LINES]
        Path(name).write_text("\n".join([header + (",rating" if more else ""), *rows]) + "\n")
        return name

    def unchanged(name: str, folder: str = "out", **options: Any) -> None:
        done = replibatch("run", name, "-m", MODEL, "-o", folder, **options)
        assert done.returncode == 0, done.stderr
        assert "6 made before" in done.stdout, done.stdout
        assert len(sandbox.books.create_times) == 6

    made(csv("list.csv"), "-m", MODEL)
    assert len(sandbox.books.create_times) == 6
    unchanged(csv("list.csv", more=",5"))  # a column added
    unchanged(csv("list.csv", seed="{}.0", truth="TRUE"))  # through Excel
    unchanged(csv("list.csv", header="Prompt,Seed,Go-Fast"))
    unchanged(str(write_lines(LINES)))  # another format
    unchanged(str(write_lines([dict(reversed(line.items())) for line in reversed(LINES)])))  # another order
    Path("link").symlink_to("out")
    unchanged("list.csv", "link")
    Path("out").rename("renamed")
    unchanged("list.csv", "renamed")
    unchanged("list.csv", "link/../renamed")
    Path("link").unlink()
    Path("deeper").mkdir()
    Path("renamed").rename("deeper/out")
    unchanged("list.csv", "deeper/out")

    LINES[2]["prompt"] = "another"
    done = replibatch("run", str(write_lines(LINES)), "-m", MODEL, "-o", "deeper/out")
    assert done.returncode == 0 and "5 made before" in done.stdout
    assert len(sandbox.books.create_times) == 7 and sandbox.books.paid_twice() == []


def test_no_file_of_others_is_replaced(sandbox: Sandbox) -> None:
    Path("out").mkdir()
    Path("out/client.jpg").write_bytes(b"a photo")
    Path("out/list.csv").write_text("prompt,output\na fox,client.jpg\na hen,list.csv\n")
    for say in (ahead, made):
        told = say("out/list.csv", "-m", MODEL, code=2)
        assert "client.jpg is in out already" in told and "--overwrite" in told
    assert Path("out/client.jpg").read_bytes() == b"a photo" and not sandbox.books.create_times

    Path("fox.csv").write_text("prompt,output\na fox,fox.webp\n")
    made("fox.csv", "-m", MODEL)
    first = Path("out/fox.webp").read_bytes()
    for say in (ahead, made):
        assert "fox.webp is in out already" in say("fox.csv", "-m", "black-forest-labs/flux-dev", code=2)
    assert Path("out/fox.webp").read_bytes() == first
    made("fox.csv", "-m", "black-forest-labs/flux-dev", "--overwrite")
    assert Path("out/fox.webp").read_bytes() != first
    assert "1 item to make" in ahead("fox.csv", "-m", MODEL, "--overwrite")  # its file is gone: it says so
    made("fox.csv", "-m", "black-forest-labs/flux-dev", "--fresh")  # its own file
    assert len(sandbox.books.create_times) == 3


def test_what_is_not_sent_is_said(sandbox: Sandbox) -> None:
    write_lines(
        [{"prompt": "a fox", "model": MODEL, "guidance": 3}, {"prompt": "a hen", "model": IMAGEN, "guidance": 3}]
    )
    told = json.loads(replibatch("run", "list.jsonl", "-o", "out", "--dry-run", "--json").stdout)["understood"]
    assert told["notes"] == [{"note": f"{IMAGEN} has no input 'guidance'; left out", "items": 1}]
    assert told["files"][0]["format"] == "JSON lines" and told["files"][0]["columns"]["guidance"] == "guidance"
    assert told["distinct_prompts"] == 2 and told["last_prompt"] == "a hen" and len(told["first_names"]) == 2
    assert {(each["asked"], each["taken"]) for each in told["models"]} == {(MODEL, MODEL), (IMAGEN, IMAGEN)}
    submitted = replibatch("submit", "list.jsonl", "-o", "out")
    assert "has no input 'guidance'; left out: 1 item" in submitted.stderr and submitted.stdout.strip().isalnum()
    assert "2 of 2 items made" in replibatch("run", "list.jsonl", "-o", "out").stdout
    assert len(sandbox.books.create_times) == 2
