"""What makes an item the same item in another run, where its file goes, and what was made before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from replibatch import catalog, lists, settings
from replibatch.cli.run.folder import OutputFolder
from replibatch.cli.run.plan import Plan, Survey
from replibatch.cli.run.results_file import ResultsFile
from replibatch.errors import ListError, OutputPathError
from replibatch.lists import Asked, Item, Options
from replibatch.requests import BatchResult, OutputFile

MODEL = "qwen/qwen-image"


def folder(path: str = "out", **given: Any) -> OutputFolder:
    return OutputFolder(Path(path), settings.load(**given))


def planned(name: str, into: OutputFolder, **inputs: Any) -> Iterator[Plan]:
    options = Options(asked=Asked((MODEL,)), given=[f"{key}={value}" for key, value in inputs.items()])
    with lists.opened([name], options, catalog.load()) as listing:
        yield Plan(listing, into)


plan_of = contextmanager(planned)


def items(text: str, *, into: str = "out", name: str = "list.jsonl", **inputs: Any) -> list[Item]:
    Path(name).write_text(text)
    here = folder(into)
    here.create()
    with plan_of(name, here, **inputs) as plan:
        return list(plan.items())


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
        (line(output="fox.png"), {}),  # another format
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


def test_one_folder_is_the_same_by_any_way_to_it_and_wherever_it_is_moved() -> None:
    folder("out").create()
    identity = folder("out").identity
    assert folder("./other/../out").identity == identity != folder("other").identity
    Path("link").symlink_to("out")
    assert folder("link").identity == identity
    stored = folder("out").asked_at("a/b.png")
    Path("out").rename("moved")
    moved = folder("moved")
    moved.create()
    assert moved.identity == identity
    assert moved.place_of(stored).path == Path("moved/a/b.png").absolute()
    with pytest.raises(ValueError, match="elsewhere"):
        moved.place_of("/elsewhere/b.png")


def test_two_that_make_a_folder_at_once_agree_on_what_it_is() -> None:
    first, second = folder(), folder()
    first.create()
    second.create()
    assert first.identity == second.identity


def result(path: Path, *, success: bool = True) -> BatchResult:
    return BatchResult("1", "a fox", MODEL, MODEL if success else None, success, files=(OutputFile(str(path)),))


def made_in(here: OutputFolder, names: bytes) -> bytes:
    """Those of these items, each named by the one letter of its key, that count as made."""
    with here.made() as made:
        return bytes(name for name in names if bytes([name]) * 16 in made)


def noted(here: OutputFolder, *lines: tuple[str, bytes, bool], play: bool = False) -> None:
    """Results in a folder: the name of a file, the item's key, and whether it succeeded."""
    here.create()
    results = ResultsFile(here.results, play=play)
    for index, (name, key, success) in enumerate(lines):
        results.add(result(Path("out", name).absolute(), success=success), index, key)
    results.close()


def test_what_succeeded_and_is_still_there_is_not_made_again() -> None:
    here = folder()
    here.create()
    for name in ("kept", "failed", "twice"):
        Path("out", name).touch()
    noted(
        here,
        ("kept", b"k" * 16, True),
        ("gone", b"g" * 16, True),
        ("failed", b"f" * 16, False),
        ("twice", b"t" * 16, True),
        ("twice", b"t" * 16, False),
    )
    assert made_in(here, b"kgft") == b"k"


def test_what_another_item_has_replaced_is_made_again() -> None:
    here = folder()
    here.create()
    Path("out/a").touch()
    noted(here, ("a", b"k" * 16, True), ("a", b"o" * 16, True))
    assert made_in(here, b"ko") == b"o"
    noted(here, ("a", b"k" * 16, True))
    assert made_in(here, b"ko") == b"k"


def test_what_a_stand_in_made_counts_for_the_stand_in_alone() -> None:
    here = folder()
    here.create()
    Path("out/a").write_bytes(b"play")
    noted(here, ("a", b"p" * 16, True), play=True)
    assert made_in(here, b"p") == b""
    stand_in = OutputFolder(Path("out"), settings.load(), play=True)
    assert made_in(stand_in, b"p") == b"p"
    noted(here, ("a", b"p" * 16, True))
    assert made_in(here, b"p") == b"p"
    with stand_in.made(fresh=True) as made:
        assert not made.is_of(b"p" * 16, "a", "0" * 64)


def test_paths_in_the_results_are_relative_to_the_folder() -> None:
    noted(folder(), ("sub/a", b"k" * 16, True))
    (line,) = [json.loads(raw) for raw in Path("out/results.jsonl").read_text().splitlines()]
    assert line["file_paths"] == ["sub/a"] and line["files"][0]["path"] == "sub/a"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("client.jpg", "client.jpg is in out already"),
        ("list.jsonl", "list.jsonl is in out already"),
        ("sub", "is a folder"),
    ],
)
def test_a_file_of_others_is_never_in_the_way_unsaid(name: str, found: str) -> None:
    Path("out/sub").mkdir(parents=True)
    Path("out/client.jpg").write_bytes(b"theirs")
    Path("out/list.jsonl").write_text(line(output=name))
    with plan_of("out/list.jsonl", folder()) as plan, plan.folder.made() as made:
        with pytest.raises(ListError, match=found) as refused:
            plan.survey(made)
        assert "--overwrite" in str(refused.value) or name == "sub"
        if name != "sub":
            assert replace(plan, overwrite=True).survey(made).count == 1


def test_an_item_s_own_product_is_no_file_of_others_unless_it_was_changed() -> None:
    (item,) = items(line(output="a.png"))
    Path("out/a.png").write_bytes(b"made")
    digest = hashlib.sha256(b"made").hexdigest()
    own = OutputFile(str(Path("out/a.png").absolute()), sha256=digest)
    lines = ResultsFile(folder().results)
    lines.add(BatchResult("1", "a fox", MODEL, MODEL, True, files=(own,)), 0, item.key)
    lines.close()
    with plan_of("list.jsonl", folder()) as plan, plan.folder.made(fresh=True) as made:
        assert plan.survey(made).count == 1
        Path("out/a.png").write_bytes(b"retouched")
        with pytest.raises(ListError, match="already"):
            plan.survey(made)


def test_what_cannot_be_looked_at_is_not_taken_for_gone() -> None:
    here = folder()
    here.create()
    lines = ResultsFile(here.results)
    lines.add(result(Path("out/share/a").absolute()), 0, b"k" * 16)
    lines.close()
    Path("out/share").symlink_to("share")  # as a network folder does that does not answer, it says neither yes nor no
    with pytest.raises(OSError, match="share"):
        made_in(here, b"k")


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
    assert made_in(here, b"abc") == b"c"  # the file is that of the last one


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
    with plan_of("list.jsonl", folder()) as plan:
        survey = plan.survey(made)
    assert (survey.count, survey.made) == (2, 1)
    assert survey.cost_usd == pytest.approx(0.025 + 2 * 0.025)
    assert dict(survey.by_model) == {MODEL: 1, "black-forest-labs/flux-dev": 1}


def test_files_that_workers_put_into_the_folder_s_earlier_place_follow_it() -> None:
    here = folder("out")
    here.create()
    stored = Path(here.asked_at("a.png"))
    Path("out").rename("moved")
    moved = folder("moved")
    moved.create()
    stored.parent.mkdir()
    stored.write_bytes(b"made late")  # by a worker that knew the folder by its earlier name
    made_late = OutputFile(str(stored), sha256=hashlib.sha256(b"made late").hexdigest())
    result = moved.with_files_here(BatchResult("1", "a fox", MODEL, MODEL, True, files=(made_late,)))
    assert result.file_paths == [str(Path("moved/a.png").absolute())]
    assert Path("moved/a.png").read_bytes() == b"made late" and not stored.exists()
