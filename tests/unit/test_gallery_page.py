"""The page shows the newest result of every request, names files where they are, and cannot be broken out of."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from replibatch.gallery import page as gallery
from replibatch.gallery.page import write_gallery
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
    """The page as a browser takes it apart."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.scripts: dict[str | None, str] = {}
        self.links: list[str] = []
        self.title = ""
        self._inside: tuple[str, str | None] = ("", None)
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._inside = (tag, given.get("id"))
        self.links += [str(given[name]) for name in ("src", "href") if name in given]

    def handle_endtag(self, tag: str) -> None:
        self._inside = ("", None)

    def handle_data(self, data: str) -> None:
        tag, id_ = self._inside
        if tag == "script":
            self.scripts[id_] = self.scripts.get(id_, "") + data
        elif tag == "title":
            self.title += data

    @property
    def items(self) -> list[dict[str, Any]]:
        return json.loads(self.scripts["items"])

    @property
    def totals(self) -> dict[str, Any]:
        return json.loads(self.scripts["totals"])


def page_of(folder: Path, lines: str, *, title: str = "Foxes", destination: str = "gallery.html") -> Page:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.jsonl").write_text(lines)
    write_gallery(folder / "results.jsonl", folder / destination, title)
    return Page((folder / destination).read_text(encoding="utf-8"))


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
    assert [each["reason"] for each in page.items[3]["attempts"]] == ["sensitive", None]


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
    assert page.items[0]["inputs"][nasty] == "1"
    assert set(page.scripts) == {"items", "totals", None}
    assert "alert" not in page.scripts[None]


@pytest.mark.parametrize("title", ["Foxes & <b>wolves</b>", "</title><script>alert(1)</script>", "{{items}}"])
def test_no_title_breaks_out(tmp_path: Path, title: str) -> None:
    page = page_of(tmp_path, line(0, result("a")), title=title)
    assert page.title == title
    assert len(page.items) == 1
    assert set(page.scripts) == {"items", "totals", None}


def test_nothing_comes_from_the_network(tmp_path: Path) -> None:
    files = (OutputFile(str(tmp_path / "1.png"), url="https://replicate.delivery/1.png"),)
    page = page_of(tmp_path, line(0, result("a", files=files)))
    assert page.links == ["data:,"]
    assert not re.search(r"https?:|//[a-z]|@import|url\(", page.text)
    assert "default-src 'none'" in page.text


def test_long_inputs_are_shortened_and_the_prompt_is_not_repeated(tmp_path: Path) -> None:
    inputs = {"prompt": "a fox", "image": "data:image/png;base64," + "A" * 10_000, "seed": 7, "size": [1, 2]}
    (item,) = page_of(tmp_path, line(0, result("a", inputs=inputs))).items
    assert item["inputs"]["seed"] == "7"
    assert item["inputs"]["size"] == "[1, 2]"
    assert len(item["inputs"]["image"]) <= gallery.LONGEST_INPUT + 1
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

    monkeypatch.setattr(gallery, "_part", fail)
    with pytest.raises(OSError, match="no gallery"):
        page_of(tmp_path, line(0, result("b")))
    assert (tmp_path / "gallery.html").read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gallery.html", "results.jsonl"]
    with pytest.raises(FileNotFoundError):
        write_gallery(tmp_path / "none.jsonl", tmp_path / "gallery.html", "Foxes")
