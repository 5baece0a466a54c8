"""The gallery as people meet it: opened from the disk in a browser, filtered, searched, looked at closely."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from replibatch.gallery.page import write_gallery
from replibatch.requests import Attempt, BatchResult, OutputFile, State
from replibatch.sandbox import Sandbox
from tests.support.catalogue import FLUX, IMAGEN, NANO, QWEN
from tests.support.commands import replibatch, write_lines
from tests.support.waiting import until

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
    # Else a model that fails alike twenty times in a row is held, not replaced.
    done = replibatch("run", "list.jsonl", "-o", "a folder", env={**os.environ, "REPLIBATCH_OUTAGE_AFTER": "1000"})
    assert done.returncode == 1, done.stderr
    assert "192 of 200 items made, 20 by a fallback, 8 placeholders" in done.stdout


ALL_THERE = "[...document.querySelectorAll('.frame img')].every(image => image.naturalWidth)"


def cards(page: Page) -> int:
    return page.locator(".card").count()


def scroll_through(page: Page) -> set[str]:
    """To the end, as a reader does; returns what was seen, each with its picture whole."""
    seen: set[str] = set()
    while True:
        until(lambda: page.evaluate(ALL_THERE))
        labels = page.locator(".frame").evaluate_all("frames => frames.map(frame => frame.ariaLabel)")
        seen |= set(labels)
        if page.evaluate("scrollY + innerHeight >= document.documentElement.scrollHeight - 2"):
            return seen
        page.mouse.wheel(0, 600)


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
    first = page.locator(".card").first
    expect(first).to_contain_text("a lighthouse above the clouds, study 0")
    expect(first).to_contain_text("$")
    expect(first).to_contain_text("after 1 failed attempt")

    page.get_by_label("model").select_option(IMAGEN)
    expect(page.get_by_role("status")).to_have_text("20 of 200 results.")
    states.get_by_role("button", name="Placeholder").click()
    expect(page.locator("#nothing")).to_contain_text("Nothing matches")
    page.get_by_role("button", name="Show everything").click()
    expect(page.get_by_role("status").first).to_have_text("")
    states.get_by_role("button", name="Placeholder").click()
    expect(page.get_by_role("status")).to_have_text("8 of 200 results.")
    expect(page.locator(".card").first).to_contain_text("sensitive")
    states.get_by_role("button", name="All", exact=True).click()
    page.get_by_role("searchbox").fill("train study 199")
    expect(page.get_by_role("status")).to_have_text("1 of 200 results.")
    page.get_by_role("searchbox").fill("")

    seen = scroll_through(page)
    assert len(seen) == 200
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


STYLES, MODELS, FIELDS = 17, (FLUX, QWEN, NANO, IMAGEN), ("paint", "print")


def comparison(folder: Path, styles: int = STYLES, *, pictures: bool = True) -> str:
    """The address of a gallery of `styles` prompts by four models."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "results.jsonl").open("w") as file:
        for number in range(styles * len(MODELS)):
            style, place = divmod(number, len(MODELS))
            model = MODELS[place]
            name = f"{model.partition('/')[2]}-{style}.png"
            if pictures:
                Image.new("RGB", (160, 90), (style * 14, place * 60, 120)).save(folder / name)
            failed = number == 6
            result = BatchResult(
                f"style-{style}",
                f"A lighthouse keeper and a fox share supper by the lamp; in the manner of style {style}",
                model,
                None if failed else model,
                success=not failed,
                files=() if failed else (OutputFile(name),),
                state=State.FAILED if failed else State.SUCCEEDED,
                error="it would not" if failed else None,
                duration=1.0 + place,
                cost_usd=0.0 if failed else 0.025,
                warnings=("qwen has no input 'style'; left out",) if model == QWEN else (),
                attempts=(Attempt(model, f"p{number}", "failed" if failed else "succeeded", None, None, 1.0, 0.025),),
                inputs={"prompt": "-", "seed": number, "aspect_ratio": "16:9"},
            )
            line = {
                "index": number,
                "key": f"{number:032x}",
                **result.to_json(),
                "fields": {"medium": FIELDS[style % 2]},
            }
            file.write(json.dumps(line) + "\n")
    write_gallery(folder / "results.jsonl", folder / "gallery.html", "styles by models")
    return (folder / "gallery.html").absolute().as_uri()


def at(page: Page) -> str:
    """What the close-up shows: style and model."""
    told = page.get_by_role("region", name="About this result").inner_text()
    found = re.search(r"style (\d+)\s", told), re.search(r"Model\s+\S+/(\S+)", told)
    return " ".join(each[1] if each else "?" for each in found)


def test_the_best_of_four_is_found_in_three_key_strokes(page: Page, tmp_path: Path) -> None:
    page.goto(comparison(tmp_path / "out"))
    for key in ("s", "3", "f"):  # side by side, the third, favourite
        page.keyboard.press(key)
    expect(page.get_by_role("button", name="Favourite", exact=True).last).to_have_attribute("aria-pressed", "true")
    assert at(page) == "0 nano-banana"
    page.keyboard.press("Escape")
    expect(page.locator("#favourite-count")).to_have_text("1")
    page.reload()
    expect(page.locator("#favourite-count")).to_have_text("1")  # the browser keeps it

    page.locator("#favourites").click()
    expect(page.get_by_role("status").first).to_have_text("1 of 68 results.")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export favourites").click()
    (chosen,) = json.loads(Path(download.value.path()).read_text())
    assert chosen["model"] == NANO and chosen["seed"] == 2 and chosen["medium"] == "paint"


def test_a_column_is_a_model_and_a_row_a_prompt(page: Page, tmp_path: Path) -> None:
    page.goto(comparison(tmp_path / "out"))
    heads = page.get_by_role("columnheader")
    expect(heads).to_have_text(["Prompt", *(re.compile(f"{model.partition('/')[2]}.*mean.*p95") for model in MODELS)])
    expect(heads.nth(1)).not_to_contain_text("failed")
    expect(heads.nth(3)).to_contain_text("$0.40 · 1 failed")
    expect(page.get_by_role("columnheader").filter(has_text="qwen-image")).to_contain_text("no input 'style'")
    expect(page.locator("#equal")).to_contain_text(re.compile("prompts begin.*A lighthouse keeper"))
    expect(page.locator("#equal")).to_contain_text("aspect_ratio 16:9")
    page.get_by_text("Summary", exact=True).click()
    row = page.locator("#table tbody tr").nth(2)
    expect(row).to_have_text(re.compile(r"nano-banana.*16 of 17.*1.*0.*3\.0 s.*3\.0 s.*\$0\.40.*\$0\.025.*17"))
    first = page.locator(".line.row").first
    assert first.locator(".cell").count() == 4
    page.get_by_label("Columns").select_option("fields.medium")
    expect(page.locator("#heads").get_by_role("columnheader")).to_have_text(
        ["Prompt", re.compile("paint"), re.compile("print")]
    )
    page.get_by_label("Columns").select_option("model")
    page.get_by_label("Group").select_option("fields.medium")
    expect(page.locator(".heading").first).to_have_text("medium: paint (9)")
    page.get_by_label("Sort").select_option("slow")
    page.get_by_role("searchbox").fill("nano-banana-12.png")
    expect(page.get_by_role("status").first).to_have_text("1 of 68 results.")
    expect(page.locator(".line.row")).to_have_count(1)  # the row stays whole, to compare with
    assert page.locator(".line.row .frame[data-dim]").count() == 3


def test_keys_flip_between_columns_and_between_prompts(page: Page, tmp_path: Path) -> None:
    page.goto(comparison(tmp_path / "out"))
    page.keyboard.press("ArrowDown")  # the first is in focus now
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    walk = [at(page)]
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowDown", "ArrowUp", "ArrowUp", "4"):
        page.keyboard.press(key)
        walk.append(at(page))
    names = [model.partition("/")[2] for model in MODELS]
    assert walk == [
        f"1 {names[1]}",
        f"1 {names[2]}",
        f"1 {names[3]}",
        f"1 {names[0]}",  # round to the first
        f"2 {names[0]}",
        f"1 {names[0]}",
        f"0 {names[0]}",
        f"0 {names[3]}",
    ]
    page.keyboard.press("Escape")
    page.wait_for_function(  # where one was looking
        "words => words.every(each => document.activeElement.ariaLabel?.includes(each))", arg=["style 0", names[3]]
    )


@pytest.mark.parametrize("width", [1440, 1024, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_at_any_width(browser: Browser, tmp_path: Path, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(comparison(tmp_path / "out"))
    expect(page.locator(".frame").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    right = (
        page.locator(".line.row").first.locator(".cell").last.evaluate("cell => cell.getBoundingClientRect().right")
    )
    assert right <= width  # all four columns are in sight
    light = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (light == "rgb(248, 246, 242)") == (scheme == "light")
    page.screenshot(path=tmp_path / f"{width}-{scheme}.png")
    context.close()


def test_on_paper_everything_is_there_and_nothing_moves_where_nobody_wants_it(
    browser: Browser, tmp_path: Path
) -> None:
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.goto(comparison(tmp_path / "out"))
    expect(page.locator(".frame").first).to_be_visible()
    moving = page.evaluate(
        "document.getAnimations().length + getComputedStyle(document.querySelector('.frame')).transitionDuration"
    )
    assert moving == "00s"
    paper = page.pdf()
    assert paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page ") + paper.count(b"/Type/Page/") >= 2
    context.close()


def test_five_thousand_items(browser: Browser, tmp_path: Path) -> None:
    """The page opens at once, filters in a moment, and no frame of a scroll takes the browser a tenth of a second."""
    address = comparison(tmp_path / "out", 1250, pictures=False)
    page_files = [tmp_path / "out/gallery.html", *(tmp_path / "out/gallery_files").iterdir()]
    assert sum(path.stat().st_size for path in page_files) < 20_000_000
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(address)
    expect(page.locator(".frame").first).to_be_visible()
    assert page.locator(".frame").count() < 200  # only what is near the window is drawn
    browser.start_tracing(page=page, path=tmp_path / "trace.json", categories=["toplevel", "devtools.timeline"])
    page.evaluate(
        """async () => {
            for (let y = 0; y < 24_000; y += 120) { await new Promise(requestAnimationFrame); scrollTo(0, y); }
        }"""
    )
    browser.stop_tracing()
    assert max(cpu_milliseconds(tmp_path / "trace.json")) < 100  # of the processor: this machine has other work too
    page.get_by_role("searchbox").fill("nano-banana-1249.png")
    expect(page.get_by_role("status").first).to_have_text("1 of 5,000 results.")
    context.close()


def cpu_milliseconds(trace: Path) -> list[float]:
    """How long each task of the page's own thread was on a processor."""
    events = json.loads(trace.read_text())["traceEvents"]
    own = {
        (each["pid"], each["tid"])
        for each in events
        if each.get("name") == "thread_name" and each["args"]["name"] == "CrRendererMain"
    }
    tasks = [each for each in events if each.get("ph") == "X" and (each["pid"], each["tid"]) in own]
    return [each["tdur"] / 1000 for each in tasks if "tdur" in each]
