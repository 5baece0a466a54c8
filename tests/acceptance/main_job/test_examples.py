"""Every script in examples/ as its users run it, against the stand-in."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page

from replibatch.sandbox import Sandbox
from tests.support.catalogue import FLUX, NANO, QWEN, ULTRA
from tests.support.commands import replibatch
from tests.support.holding import hold
from tests.support.waiting import until

PROJECT = Path(__file__).parents[3]
EXAMPLES = PROJECT / "examples"
Script = Callable[..., subprocess.Popen[str]]
Picture = Callable[[str], Path]


@pytest.fixture
def run(script: Script) -> Callable[..., str]:
    """Runs an example in the working directory; returns what it says."""

    def example(name: str, *arguments: str) -> str:
        process = script(str(EXAMPLES / name), *arguments)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return out

    return example


def test_every_example_runs_in_a_test() -> None:
    tests = "".join(path.read_text() for path in (PROJECT / "tests" / "acceptance").rglob("test_*.py"))
    missing = [path.name for path in EXAMPLES.glob("*.py") if path.stem not in tests]
    assert missing == []


def test_the_showcase_of_17_styles_by_4_models(sandbox: Sandbox, run: Callable[..., str], page: Page) -> None:
    let_go = hold(sandbox)
    with ThreadPoolExecutor() as pool:
        shown = pool.submit(run, "showcase.py", "shown")
        until(lambda: sandbox.books.in_flight == 68 or shown.done(), what="all of them are in flight")
        let_go()
        said = shown.result()
    assert "68 of 68 made for $2.53" in said
    assert sandbox.books.peak_in_flight == 68 and len(sandbox.books.create_times) == 68
    results = [json.loads(line) for line in Path("shown/results.jsonl").read_text().splitlines()]
    assert len(results) == 68
    for result in results:
        (path,) = result["file_paths"]
        assert Path(path).parent.name == result["model_used"].partition("/")[2]
        with Image.open(path) as image:
            assert image.format == "JPEG"
            assert (image.width == image.height) == (result["model_used"] == "google/nano-banana")
        assert Path(path).stem.partition("-")[0] in result["prompt"].lower()  # the style's first word

    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(Path("shown/gallery.html").absolute().as_uri())
    assert page.locator("#heads .column-head").count() == 4  # a column a model
    seen: set[str] = set()
    while len(seen) < 68:  # the page draws what is near the window
        page.wait_for_timeout(150)
        with_picture = "frames => frames.filter(f => f.querySelector('img').naturalWidth).map(f => f.ariaLabel)"
        seen |= set(page.locator(".frame").evaluate_all(with_picture))
        page.mouse.wheel(0, 700)
    for key in ("s", "2", "f"):  # the best of four for a style
        page.keyboard.press(key)
    assert page.locator("#favourite-count").text_content() == "1"


def test_the_showcase_as_one_command_and_its_favourites_made_again(sandbox: Sandbox, page: Page) -> None:
    models = [FLUX, ULTRA, QWEN, NANO]
    chosen_models = [word for model in models for word in ("-m", model)]
    template = "A lighthouse keeper and a fox share supper by the lamp while a storm passes; {prompt}"
    styles = str(EXAMPLES / "lists/showcase.csv")
    asked = [*chosen_models, "--prompt-template", template, "--name", "{model}/{id}.{ext}", "-i", "aspect_ratio=16:9"]
    done = replibatch("run", styles, *asked, "-o", "shown")
    assert done.returncode == 0, done.stderr
    assert "68 of 68 items made; $2.53" in done.stdout
    assert sandbox.books.cost_usd == pytest.approx(2.533) and sandbox.books.paid_twice() == []
    assert {len(list(Path("shown", model.partition("/")[2]).iterdir())) for model in models} == {17}

    page.goto(Path("shown/gallery.html").absolute().as_uri())
    for key in ("s", "3", "f"):
        page.keyboard.press(key)
    page.keyboard.press("Escape")
    page.locator("#favourites").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export favourites").click()
    download.value.save_as("favourites.json")
    again = replibatch("run", "favourites.json", "-o", "best")
    assert again.returncode == 0, again.stderr
    (same,) = sandbox.books.paid_twice()  # the same create, seed and all
    assert same.model == QWEN and len(sandbox.books.create_times) == 69


def test_chunks(sandbox: Sandbox, run: Callable[..., str]) -> None:
    said = run("chunking.py")
    assert [line.split()[0] for line in said.splitlines()] == ["50", "50", "20"]
    assert len(list(Path("output/chunks").iterdir())) == 120


def test_error_handling(sandbox: Sandbox, run: Callable[..., str]) -> None:
    said = run("error_handling.py")
    assert said.count("✅ Generated") == 2 and "$0.025" in said
    Path("output/city.png").unlink()  # a placeholder replaces nothing
    sandbox.settings.sensitive_words = frozenset({"city"})
    said = run("error_handling.py")
    assert said.count("✅ Generated") == 1 and "⬛ Placeholder" in said
    assert "qwen/qwen-image: sensitive: " in said


def test_routing(sandbox: Sandbox, run: Callable[..., str], picture: Picture) -> None:
    picture("image1.jpg")
    picture("image2.png")
    said = run("routing.py")
    assert "black-forest-labs/flux-dev → black-forest-labs/flux-kontext-max" in said
    assert "qwen/qwen-image → google/nano-banana" in said
    assert "black-forest-labs/flux-kontext-max → qwen/qwen-image" in said
    assert {path.name for path in Path("output").iterdir()} == {
        "one_reference.png",
        "two_references.png",
        "other_inputs.png",
    }


def test_the_global_limit(sandbox: Sandbox, run: Callable[..., str]) -> None:
    said = run("global_limit.py")
    assert "Max concurrent: 60" in said and "Available slots: 60" in said and "Utilization: 0.0%" in said
    assert "landscapes: global limit 40" in said and "portraits: global limit 40" in said


def test_one_of_every_kind(sandbox: Sandbox, run: Callable[..., str], picture: Picture) -> None:
    said = run("every_kind.py", str(picture("photo.png")))
    lines = dict(line.split(": ", 1) for line in said.splitlines())
    ends = {name: files.rpartition(" (")[0].rpartition(".")[2] for name, files in lines.items()}
    assert ends == {
        "black-forest-labs/flux-schnell": "webp",
        "google/veo-3.1-fast": "mp4",
        "minimax/speech-2.6-turbo": "mp3",
        "recraft-ai/recraft-crisp-upscale": "png",
        "recraft-ai/recraft-remove-background": "png",
    }
    assert "($0.006)" in lines["black-forest-labs/flux-schnell"] and "($0.400)" in lines["google/veo-3.1-fast"]
    sent = {bill.model: bill.input for bill in sandbox.books.bills()}
    assert sent["minimax/speech-2.6-turbo"]["text"] == "The storm is over."
    assert sent["recraft-ai/recraft-crisp-upscale"].keys() == {"image"}
