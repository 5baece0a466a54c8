"""The page shows the newest result of every request, names files where they are, and cannot be broken out of."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from PIL import Image

from replibatch.gallery import page as gallery
from replibatch.gallery.page import files_folder, write_gallery
from replibatch.requests import Attempt, BatchResult, OutputFile, State
from tests.support.catalogue import FLUX, NANO, QWEN


def attempt(model: str, reason: str | None = None) -> Attempt:
    return Attempt(model, "p", "failed" if reason else "succeeded", reason, reason, 2.5, 0.0 if reason else 0.025)


def result(request_id: str, **changes: Any) -> BatchResult:
    fields: dict[str, Any] = {
        "prompt": "a fox",
        "model_name": FLUX,
        "model_used": FLUX,
        "success": True,
        "attempts": (attempt(FLUX),),
        "cost_usd": 0.025,
        "duration": 3.0,
    }
    return BatchResult(request_id, **{**fields, **changes})


def line(index: int, of: BatchResult) -> str:
    return json.dumps({**of.to_json(), "index": index}) + "\n"


class Page(HTMLParser):
    """The page as a browser takes it apart, with its data."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.scripts: list[str] = []
        self.links: list[str] = []
        self.title = ""
        self._inside = ""
        self.feed(self.text)
        script = (files_folder(path) / "data.js").read_text(encoding="utf-8")
        literal = script.removeprefix("window.replibatchGallery = JSON.parse('").removesuffix("');\n")
        self.data = json.loads(re.sub(r"\\([\\'])", r"\1", literal))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._inside = tag
        self.links += [str(given[name]) for name in ("src", "href") if name in given]

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside == "title":
            self.title += data

    @property
    def items(self) -> list[dict[str, Any]]:
        """As the page decodes them."""
        value = self.data["values"]

        def pairs(places: list[int]) -> dict[str, Any]:
            return {value[places[at]]: value[places[at + 1]] for at in range(0, len(places), 2)}

        return [
            {
                "number": number,
                "id": value[id_],
                "prompt": value[prompt],
                "model": value[model],
                "asked": value[asked],
                "state": value[state],
                "cost": cost,
                "files": [address for address, _ in found],
                "thumbnails": [name for _, name in found],
                "reasons": [value[reason] for _, _, reason, *_ in attempts],
                "inputs": pairs(inputs),
                "fields": pairs(fields),
                "flags": flags,
            }
            for number, _, id_, prompt, asked, model, state, cost, _, found, _, _, attempts, inputs, fields, flags in (  # noqa: E501
                self.data["items"]
            )
        ]

    @property
    def totals(self) -> dict[str, Any]:
        return self.data["totals"]


def page_of(folder: Path, lines: str, *, title: str = "Foxes", destination: str = "gallery.html") -> Page:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.jsonl").write_text(lines)
    write_gallery(folder / "results.jsonl", folder / destination, title)
    return Page(folder / destination)


def test_the_newest_line_of_a_request_counts_in_the_order_of_the_batch(tmp_path: Path) -> None:
    failed = result("b", success=False, model_used=None, state=State.FAILED, cost_usd=0.0, error="no")
    lines = line(2, result("c")) + line(1, failed) + line(0, result("a")) + line(1, result("b"))
    page = page_of(tmp_path, lines)
    assert [(item["id"], item["state"]) for item in page.items] == [(name, "succeeded") for name in "abc"]
    assert page.totals["count"] == 3
    assert page.totals["cost_usd"] == 0.075


def test_a_request_that_has_moved_in_its_list_is_shown_once(tmp_path: Path) -> None:
    lines = line(0, result("a", success=False, model_used=None, state=State.FAILED)) + line(0, result("new"))
    page = page_of(tmp_path, lines + line(1, result("a")))
    assert [(item["id"], item["state"]) for item in page.items] == [("new", "succeeded"), ("a", "succeeded")]


def test_lines_that_are_not_whole_do_not_count(tmp_path: Path) -> None:
    whole = line(0, result("a"))
    page = page_of(tmp_path, whole + "\n[]\n7\n" + '{"index": 1}\n' + line(2, result("b"))[:100])
    assert [item["id"] for item in page.items] == ["a"]


def test_a_newer_version_s_fields_do_not_disturb(tmp_path: Path) -> None:
    data = {**result("a").to_json(), "index": 0, "mood": "fine"}
    assert len(page_of(tmp_path, json.dumps(data)).items) == 1


def test_states_in_the_page_s_words(tmp_path: Path) -> None:
    refused = (attempt(NANO, "sensitive"), attempt(FLUX))
    unsuccessful = {"success": False, "model_used": None}
    results = {
        "succeeded": result("1"),
        "retried": result("2", attempts=(attempt(FLUX, "interrupted"), attempt(FLUX))),
        "routed": result("3", model_name=QWEN),
        "fallback": result("4", model_name=NANO, attempts=refused),
        "placeholder": result("5", **unsuccessful, placeholder=True, state=State.PLACEHOLDER),
        "failed": result("6", **unsuccessful, state=State.FAILED),
        "canceled": result("7", **unsuccessful, state=State.CANCELED, attempts=()),
    }
    page = page_of(tmp_path, "".join(line(index, each) for index, each in enumerate(results.values())))
    states = [item["state"] for item in page.items]
    assert states == ["succeeded", "succeeded", "succeeded", "fallback", "placeholder", "failed", "canceled"]
    assert page.totals["states"] == {state: states.count(state) for state in states}
    assert page.items[3]["reasons"] == ["sensitive", None]


def test_totals(tmp_path: Path) -> None:
    results = [result("1"), result("2", model_used=QWEN, cost_usd=0.1, attempts=(attempt(FLUX, "x"), attempt(QWEN)))]
    totals = page_of(tmp_path, "".join(line(index, each) for index, each in enumerate(results))).totals
    assert totals["models"] == {FLUX: 1, QWEN: 1}
    assert totals["cost_usd"] == 0.125
    assert totals["seconds"] == 7.5


@pytest.mark.parametrize("name", ["fox.png", "a b/50% #1?.png", "雪/狐 & 'co'.webp", "javascript:alert(1).png"])
def test_files_are_named_relative_to_the_page(tmp_path: Path, name: str) -> None:
    file = OutputFile(str(tmp_path / "batch/files" / name))
    page = page_of(tmp_path / "batch", line(0, result("a", files=(file,))))
    (address,) = page.items[0]["files"]
    assert re.fullmatch(r"files/[\w./%~-]+", address, re.ASCII)
    assert unquote(address) == f"files/{name}"


def test_files_elsewhere_and_pages_elsewhere(tmp_path: Path) -> None:
    files = (OutputFile(str(tmp_path / "out/1.png")), OutputFile("2.png"))
    (tmp_path / "batch/deep").mkdir(parents=True)
    page = page_of(tmp_path / "batch", line(0, result("a", files=files)), destination="deep/index.html")
    assert page.items[0]["files"] == ["../../out/1.png", "../2.png"]


@pytest.mark.parametrize(
    "nasty", ["</script><script>alert(1)</script>", "<!-- <script>", "{{totals}} {{script}}", "\ud800", "a\u2028b"]
)
def test_no_text_breaks_out(tmp_path: Path, nasty: str) -> None:
    inputs = {"style": nasty, nasty: 1}
    page = page_of(tmp_path, line(0, result("a", prompt=nasty, error=nasty, inputs=inputs)))
    assert page.items[0]["prompt"] == nasty
    assert page.items[0]["inputs"][nasty] == 1
    assert len(page.scripts) == 1
    assert "alert(" not in page.text


@pytest.mark.parametrize("title", ["Foxes & <b>wolves</b>", "</title><script>alert(1)</script>", "{{items}}"])
def test_no_title_breaks_out(tmp_path: Path, title: str) -> None:
    page = page_of(tmp_path, line(0, result("a")), title=title)
    assert page.title == title
    assert len(page.items) == 1
    assert len(page.scripts) == 1


def test_nothing_comes_from_the_network(tmp_path: Path) -> None:
    files = (OutputFile(str(tmp_path / "1.png"), url="https://replicate.delivery/1.png"),)
    page = page_of(tmp_path, line(0, result("a", files=files)))
    assert page.links == ["data:,", "gallery_files/data.js"]
    assert not re.search(r"https?:|//[a-z]|@import|url\(", page.text)
    assert "default-src 'none'" in page.text


def test_long_inputs_are_shortened_and_the_prompt_is_not_repeated(tmp_path: Path) -> None:
    inputs = {"prompt": "a fox", "image": "data:image/png;base64," + "A" * 10_000, "seed": 7, "size": [1, 2]}
    (item,) = page_of(tmp_path, line(0, result("a", inputs=inputs))).items
    assert item["inputs"]["seed"] == 7
    assert item["inputs"]["size"] == [1, 2]
    assert len(item["inputs"]["image"]) < 300
    assert not item["flags"] & 1  # it is not whole, and the page exports none that is not
    assert "prompt" not in item["inputs"]


def test_beyond_what_a_browser_opens_the_totals_still_count_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "MOST_SHOWN", 3)
    page = page_of(tmp_path, "".join(line(index, result(str(index))) for index in reversed(range(5))))
    assert [item["id"] for item in page.items] == ["0", "1", "2"]
    assert page.totals["count"] == 5


def test_the_page_of_nothing(tmp_path: Path) -> None:
    page = page_of(tmp_path, "")
    assert page.items == []
    assert page.totals["count"] == 0


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page_of(tmp_path, line(0, result("a")))
    before = (tmp_path / "gallery.html").read_text()

    def fail(name: str) -> str:
        raise OSError(f"no {name}")

    monkeypatch.setattr(gallery, "_asset", fail)
    with pytest.raises(OSError, match="no page"):
        page_of(tmp_path, line(0, result("b")))
    assert (tmp_path / "gallery.html").read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gallery.html", "gallery_files", "results.jsonl"]
    with pytest.raises(FileNotFoundError):
        write_gallery(tmp_path / "none.jsonl", tmp_path / "gallery.html", "Foxes")


def keyed(index: int, key: str, of: BatchResult, **more: Any) -> str:
    return json.dumps({**of.to_json(), "index": index, "key": key, **more}) + "\n"


def paid(prediction_id: str, cost_usd: float, reason: str | None = None) -> Attempt:
    return Attempt(FLUX, prediction_id, "failed" if reason else "succeeded", reason, reason, 1.0, cost_usd)


def test_two_items_of_one_id_are_two(tmp_path: Path) -> None:
    """A line made by two models, and two lists in one folder that both count from 1."""
    lines = keyed(0, "aa", result("1")) + keyed(1, "bb", result("1", model_name=QWEN, model_used=QWEN))
    lines += keyed(0, "cc", result("1", prompt="a heron"))
    page = page_of(tmp_path, lines)
    assert [(item["id"], item["model"], item["prompt"]) for item in page.items] == [
        ("1", FLUX, "a fox"),
        ("1", FLUX, "a heron"),
        ("1", QWEN, "a fox"),
    ]
    assert page.totals["count"] == 3
    assert page.totals["cost_usd"] == 0.075


def test_the_bill_has_what_earlier_results_of_an_item_cost(tmp_path: Path) -> None:
    first = result("1", attempts=(paid("p1", 0.025),))
    again = result("1", attempts=(paid("p2", 0.04),), cost_usd=0.04)
    page = page_of(tmp_path, keyed(0, "aa", first) + keyed(0, "aa", again))
    assert page.totals["count"] == 1
    assert page.totals["cost_usd"] == 0.065
    assert page.totals["earlier"] == {"count": 1, "cost_usd": 0.025}


def test_what_a_newer_result_tells_of_an_earlier_one_is_counted_once(tmp_path: Path) -> None:
    failed = result("1", success=False, model_used=None, state=State.FAILED, attempts=(paid("p1", 0.02, "x"),))
    failed = replace(failed, cost_usd=0.02)
    retried = result("1", attempts=(paid("p1", 0.02, "x"), paid("p2", 0.03)), cost_usd=0.05)
    other = result("1", attempts=(paid("p3", 0.01),), cost_usd=0.01)
    lines = keyed(0, "aa", failed) + keyed(0, "aa", other) + keyed(0, "aa", retried) + keyed(0, "aa", retried)
    page = page_of(tmp_path, lines)
    assert page.totals["cost_usd"] == 0.06
    assert page.totals["earlier"]["count"] == 2


def test_a_file_that_a_later_item_has_replaced_is_not_shown_as_the_earlier_one_s(tmp_path: Path) -> None:
    same = (OutputFile("1.png"),)
    lines = keyed(0, "aa", result("1", files=same)) + keyed(0, "bb", result("1", prompt="a heron", files=same))
    fox, heron = page_of(tmp_path, lines).items
    assert (fox["files"], fox["flags"] & 2) == ([], 2)
    assert heron["files"] == ["1.png"]


def test_fields_and_unknown_costs(tmp_path: Path) -> None:
    data = json.loads(keyed(0, "aa", result("1"), fields={"style": "ink", "score": 3}))
    unknown = {**data, "key": "bb", "cost_usd": None, "index": 1, "attempts": []}
    page = page_of(tmp_path, json.dumps(data) + "\n" + json.dumps(unknown) + "\n")
    assert page.items[0]["fields"] == {"style": "ink", "score": 3}
    assert page.items[1]["cost"] is None
    assert (page.totals["cost_usd"], page.totals["unknown_costs"]) == (0.025, 1)


def picture(path: Path, size: tuple[int, int] = (1200, 800), colour: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def test_thumbnails_are_small_and_made_once(tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    lines = line(0, result("a", files=(OutputFile("1.png"), OutputFile("gone.png"), OutputFile("clip.mp4"))))
    (item,) = page_of(tmp_path, lines).items
    first, gone, clip = item["thumbnails"]
    assert (bool(first), gone, clip) == (True, "", "")
    made = tmp_path / "gallery_files" / f"{first}.thumb"
    with Image.open(made) as image:
        assert image.size == (448, 299)
    before = made.stat().st_mtime_ns
    assert page_of(tmp_path, lines).data["aspect"] == pytest.approx(1.5, abs=0.01)
    assert made.stat().st_mtime_ns == before

    picture(tmp_path / "1.png", colour="blue")  # another picture of the same name
    page_of(tmp_path, lines)
    assert not made.exists()
    assert len(list((tmp_path / "gallery_files").glob("*.thumb"))) == 1


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(20)])
def test_what_is_no_picture_has_no_thumbnail(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1.png").write_bytes(content)
    page = page_of(tmp_path, line(0, result("a", files=(OutputFile("1.png"),))))
    assert page.items[0]["files"] == ["1.png"]
    assert page.items[0]["thumbnails"] == [""]
    assert [path.name for path in (tmp_path / "gallery_files").iterdir()] == ["data.js"]


def test_favourites_stay_with_a_page_that_grows(tmp_path: Path) -> None:
    first = page_of(tmp_path, line(0, result("a"))).data["gallery"]
    assert page_of(tmp_path, line(1, result("a")) + line(0, result("b"))).data["gallery"] == first
    assert page_of(tmp_path, line(0, result("other"))).data["gallery"] != first
