"""What makes an item the same item in another run, where its file goes, and what was made before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from replibatch import catalog, settings
from replibatch.cli.run.folder import OutputFolder
from replibatch.cli.run.plan import Item, Plan, Survey
from replibatch.cli.run.results_file import ResultsFile
from replibatch.errors import OutputPathError
from replibatch.requests import BatchResult, OutputFile

MODEL = "qwen/qwen-image"


def folder(path: str = "out", **given: Any) -> OutputFolder:
    return OutputFolder(Path(path), settings.load(**given))


def items(text: str, *, into: str = "out", name: str = "list.jsonl", **inputs: Any) -> list[Item]:
    Path(name).write_text(text)
    return list(Plan(Path(name), MODEL, inputs, folder(into), catalog.load()).items())


def keys(*arguments: Any, **options: Any) -> list[bytes]:
    return [item.key for item in items(*arguments, **options)]


def line(**fields: Any) -> str:
    return json.dumps({"prompt": "a fox", **fields}) + "\n"


def test_the_same_list_has_the_same_keys_and_names() -> None:
    text = line() + line(output="x.png") + line(id="third")
    first, second = items(text), items(text)
    assert [item.key for item in first] == [item.key for item in second]
    assert [item.request.output_filepath for item in first] == [item.request.output_filepath for item in second]
    assert len({item.key for item in first}) == 3
    assert first[2].request.request_id == "third"


@pytest.mark.parametrize(
    ("other", "options"),
    [
        (line(prompt="a wolf"), {}),
        (line(model="google/imagen-4-ultra"), {}),
        (line(aspect_ratio="1:1"), {}),
        (line(output="fox.png"), {}),
        (line(id="7"), {}),
        (line(), {"into": "elsewhere"}),
        (line(), {"aspect_ratio": "1:1"}),
    ],
)
def test_whatever_is_asked_otherwise_is_another_item(other: str, options: dict[str, Any]) -> None:
    assert keys(line()) != keys(other, **options)


def test_equal_lines_differ_and_keep_their_keys_when_another_is_added() -> None:
    two, three = keys(line() * 2), keys(line(prompt="new") + line() * 3)
    assert len(set(three)) == 4 and three[1:3] == two


def test_another_picture_in_the_same_place_is_another_item() -> None:
    Image.new("RGB", (8, 8), "red").save("ref.png")
    text = line(model="black-forest-labs/flux-kontext-max", input_image="ref.png")
    red = keys(text)
    assert keys(text) == red
    Image.new("RGB", (8, 9), "blue").save("ref.png")
    assert keys(text) != red


def test_embedded_workers_write_into_the_folder_itself() -> None:
    here = folder("out")
    assert here.asked_at("a/b.png") == str(Path("out/a/b.png").absolute())
    assert here.place_of(here.asked_at("a/b.png")).path == Path("out/a/b.png").absolute()


@pytest.mark.parametrize(
    ("storage", "root"), [(".", "out"), ("out/../elsewhere", None), ("s3://bucket/prefix", None), (None, "out")]
)
def test_a_fleet_s_storage_is_used_as_it_is_where_it_holds_the_folder(storage: str | None, root: str | None) -> None:
    there = folder("out", redis_url="redis://127.0.0.1:1/0", storage_url=storage)
    key = there.asked_at("a/b.png")
    assert key == f"{root or f'runs/{there.identity}'}/a/b.png"
    assert there.place_of(key).path == Path("out/a/b.png").absolute()


@pytest.mark.parametrize("name", ["../x.png", "/x.png", "gallery.html", "RESULTS.jsonl", ".replibatch.lock"])
def test_names_that_would_do_harm_are_refused(name: str) -> None:
    with pytest.raises(OutputPathError, match="allowed"):
        folder().asked_at(name)


def test_one_folder_is_the_same_by_any_way_to_it() -> None:
    assert folder("out").identity == folder("./other/../out").identity != folder("other").identity


def result(path: Path, *, success: bool = True) -> BatchResult:
    return BatchResult("1", "a fox", MODEL, MODEL if success else None, success, files=(OutputFile(str(path)),))


def made_in(here: OutputFolder) -> set[bytes]:
    with here.made() as made:
        return set(made)


def test_what_succeeded_and_is_still_there_is_not_made_again() -> None:
    here = folder()
    here.create()
    for name in ("kept", "gone", "failed", "twice"):
        Path("out", name).touch()
    lines = ResultsFile(here.results)
    lines.add(result(Path("out/kept").absolute()), 0, b"k" * 16)
    lines.add(result(Path("out/gone").absolute()), 1, b"g" * 16)
    lines.add(result(Path("out/failed").absolute(), success=False), 2, b"f" * 16)
    lines.add(result(Path("out/twice").absolute()), 3, b"t" * 16)
    lines.add(result(Path("out/twice").absolute(), success=False), 3, b"t" * 16)
    lines.close()
    Path("out/gone").unlink()
    assert made_in(here) == {b"k" * 16}


def test_what_cannot_be_looked_at_is_not_taken_for_gone() -> None:
    here = folder()
    here.create()
    lines = ResultsFile(here.results)
    lines.add(result(Path("out/share/a").absolute()), 0, b"k" * 16)
    lines.close()
    Path("out/share").symlink_to("share")  # as a network folder does that does not answer, it says neither yes nor no
    with pytest.raises(OSError, match="share"):
        made_in(here)


def test_a_results_file_that_was_cut_short_is_read_and_continued() -> None:
    here = folder()
    here.create()
    whole = ResultsFile(here.results)
    Path("out/a").touch()
    whole.add(result(Path("out/a").absolute()), 0, b"a" * 16)
    whole.close()
    with here.results.open("ab") as file:
        file.write(b'{"key": "62')
    here.create()
    more = ResultsFile(here.results)
    more.add(result(Path("out/a").absolute()), 1, b"c" * 16)
    more.close()
    with here.results.open("ab") as file:
        file.write(b'"text"\n{"key": 7, "success": true, "file_paths": []}\n\xff\n')
    assert made_in(here) >= {b"a" * 16, b"c" * 16}


def test_a_folder_that_cannot_be_made_is_told_in_a_line() -> None:
    Path("out").write_text("a file")
    with pytest.raises(OutputPathError, match="allowed: a folder"):
        folder().create()


def test_only_the_first_one_in_is_alone() -> None:
    first, second, third = folder(), folder(), folder()
    first.create()
    with first.occupied() as alone:
        first.settle_in()
        with second.occupied() as not_alone:
            assert alone and not not_alone
    with third.occupied() as alone:
        assert alone


def test_an_estimate_goes_by_slots_or_by_the_window_whichever_takes_longer() -> None:
    survey = Survey(count=1000, work_seconds=5000.0, longest_seconds=5.0)
    by_slots = survey.seconds(at_once=10, free_now=600, per_window=600, window_seconds=60)
    by_window = survey.seconds(at_once=500, free_now=600, per_window=600, window_seconds=60)
    assert by_slots == pytest.approx(500) and by_window == pytest.approx(65)
    few = Survey(count=3, work_seconds=15.0, longest_seconds=5.0)
    assert few.seconds(at_once=60, free_now=600, per_window=600, window_seconds=60) == pytest.approx(5)


def test_a_survey_counts_what_is_left_and_what_it_costs() -> None:
    text = line() + line(model="black-forest-labs/flux-dev", num_outputs=2) + line(prompt="made")
    made = {items(text)[2].key}
    Path("list.jsonl").write_text(text)
    survey = Plan(Path("list.jsonl"), MODEL, {}, folder(), catalog.load()).survey(made)
    assert (survey.count, survey.made) == (2, 1)
    assert survey.cost_usd == pytest.approx(0.025 + 2 * 0.025)
    assert dict(survey.by_model) == {MODEL: 1, "black-forest-labs/flux-dev": 1}
