"""The gallery as people meet it: opened from the disk in a browser, filtered, searched, looked at closely."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from replibatch.gallery.page import write_gallery
from replibatch.requests import Attempt, BatchResult, OutputFile
from replibatch.sandbox import Sandbox
from tests.support.catalogue import FLUX, IMAGEN, NANO, QWEN
from tests.support.commands import replibatch, write_lines

REFUSED = "a wish no model grants"
SCENES = ("a lighthouse above the clouds", "a paper boat in the rain", "an orchard in blossom", "a night train")

expect.set_options(timeout=60_000)


def item(number: int) -> dict[str, str]:
    """Of ten items one asks for a broken model; of twenty-five one is refused by every model."""
    prompt = f"{SCENES[number % len(SCENES)]}, study {number}"
    if number % 25 == 7:
        return {"prompt": f"{prompt}, {REFUSED}", "model": QWEN}
    return {"prompt": prompt, "model": NANO if number % 10 == 0 else (QWEN, FLUX)[number % 2]}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the gallery is, once a test has had it made."""
    return tmp_path_factory.mktemp("kept") / "a folder"


@pytest.fixture
def gallery(sandbox: Sandbox, kept: Path) -> str:
    """The address of the gallery of 200 items: 172 as asked, 20 by a fallback, 8 placeholders."""
    if not kept.exists():
        _make(sandbox)
        Path("a folder").rename(kept)
    return (kept / "gallery.html").as_uri()


def _make(sandbox: Sandbox) -> None:
    sandbox.settings.latency_seconds = 0.1
    sandbox.settings.broken_models = frozenset({NANO})
    sandbox.settings.sensitive_words = frozenset({REFUSED})
    sandbox.settings.long_edge_pixels = 384
    write_lines([item(number) for number in range(200)])
    done = replibatch("run", "list.jsonl", "-o", "a folder", timeout_seconds=300)
    assert done.returncode == 1, done.stderr
    assert "192 of 200 items made, 20 by a fallback, 8 placeholders" in done.stdout


def cards(page: Page) -> int:
    return page.locator(".card").count()


def scroll_through(page: Page) -> None:
    """To the end, as a reader does, so that every picture is asked for."""
    last = -1
    while (height := page.evaluate("document.documentElement.scrollHeight")) != last or page.evaluate(
        "scrollY + innerHeight < document.documentElement.scrollHeight - 2"
    ):
        last = height
        page.mouse.wheel(0, 1200)
        page.wait_for_timeout(30)


def test_two_hundred_items_are_filtered_searched_and_looked_at(gallery: str, page: Page, tmp_path: Path) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(gallery)
    expect(page.get_by_role("heading", level=1)).to_have_text("list.jsonl")
    expect(page.locator("#figures")).to_contain_text(re.compile("of 200 made.*192"))
    assert cards(page) < 200  # the rest is drawn as it comes into view
    page.screenshot(path=tmp_path / "gallery.png")

    states = page.get_by_role("group", name="State")
    states.get_by_role("button", name="Fallback").click()
    expect(page.get_by_role("status")).to_have_text("20 of 200 results.")
    assert cards(page) == 20
    first = page.locator(".card").first
    expect(first).to_contain_text("a lighthouse above the clouds, study 0")
    expect(first).to_contain_text("$")
    first.get_by_text("failed attempt").click()
    expect(first).to_contain_text(re.compile("nano-banana.*failed.*imagen-4-ultra.*made it"))

    page.get_by_label("model").select_option(IMAGEN)
    expect(page.get_by_role("status")).to_have_text("20 of 200 results.")
    states.get_by_role("button", name="Placeholder").click()
    expect(page.locator("#nothing")).to_contain_text("Nothing matches")
    page.get_by_role("button", name="Show everything").click()
    assert cards(page) > 20
    states.get_by_role("button", name="Placeholder").click()
    expect(page.get_by_role("status")).to_have_text("8 of 200 results.")
    expect(page.locator(".card").first).to_contain_text("sensitive")
    states.get_by_role("button", name="All", exact=True).click()
    page.get_by_role("searchbox").fill("train study 199")
    expect(page.get_by_role("status")).to_have_text("1 of 200 results.")
    page.get_by_role("searchbox").fill("")

    scroll_through(page)
    assert cards(page) == 200
    broken = page.locator(".frame img").evaluate_all(
        "images => Promise.all(images.map(image => image.decode().then(() => 0, () => 1)))"
    )
    assert broken == [0] * 200
    assert {re.split(":", url)[0] for url in asked} == {"file"}


def test_a_close_up_tells_all_of_an_item(gallery: str, page: Page, tmp_path: Path) -> None:
    page.goto(gallery)
    page.get_by_role("group", name="State").get_by_role("button", name="Fallback").click()
    page.locator(".frame").first.click()
    notes = page.get_by_role("region", name="About this result")
    expect(notes).to_contain_text("a lighthouse above the clouds, study 0")
    for told in (IMAGEN, NANO, "Cost", "What was tried", "1 of 20"):
        expect(notes).to_contain_text(told)
    page.screenshot(path=tmp_path / "close-up.png")
    page.keyboard.press("ArrowRight")
    expect(notes).to_contain_text("study 10")
    page.keyboard.press("Escape")
    expect(notes).to_be_hidden()


def test_on_a_phone_nothing_is_cut_off(gallery: str, page: Page, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(gallery)
    expect(page.locator(".card").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.screenshot(path=tmp_path / "phone.png")
    page.get_by_role("button", name="Placeholder").click()
    expect(page.get_by_role("status")).to_have_text("8 of 200 results.")
    page.locator(".card").first.scroll_into_view_if_needed()
    page.screenshot(path=tmp_path / "phone-placeholders.png")
    page.locator(".frame").first.click()
    notes = page.get_by_role("region", name="About this result")
    notes.scroll_into_view_if_needed()
    expect(notes).to_contain_text(REFUSED)
    page.screenshot(path=tmp_path / "phone-close-up.png")
    for name in ("Next", "Close"):
        expect(page.get_by_role("button", name=name, exact=True)).to_be_in_viewport()


def test_five_thousand_items_are_there_at_once_and_filtered_in_a_moment(page: Page) -> None:
    with Path("results.jsonl").open("w") as file:
        for number in range(5000):
            model = (QWEN, FLUX)[number % 2]
            result = BatchResult(
                f"r{number}",
                f"{SCENES[number % 4]}, study {number}",
                model,
                model,
                success=True,
                files=(OutputFile(f"{number}.png"),),
                attempts=(Attempt(model, "p", "succeeded", None, None, 1.0, 0.025),),
            )
            file.write(json.dumps({"index": number, **result.to_json()}) + "\n")
    write_gallery(Path("results.jsonl"), Path("gallery.html"), "five thousand")
    began = time.monotonic()
    page.goto(Path("gallery.html").absolute().as_uri())
    expect(page.locator(".card").first).to_be_visible()
    assert cards(page) < 500
    page.get_by_label("model").select_option(FLUX)
    expect(page.get_by_role("status")).to_have_text("2,500 of 5,000 results.")
    page.get_by_role("searchbox").fill("study 4999")
    expect(page.get_by_role("status")).to_have_text("1 of 5,000 results.")
    assert time.monotonic() - began < 30  # a fraction of a second on an idle machine
