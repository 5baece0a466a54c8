"""Lists of prompts: every format read as a stream, every mistake named by its line."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replibatch.errors import ManifestError, RequestError
from replibatch.lists import ManifestLine, parse_inputs, read, rereadable

MODEL = "qwen/qwen-image"


def written(name: str, text: str | bytes) -> Path:
    path = Path(name)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def items(name: str, text: str | bytes, **options: Any) -> list[tuple[int, str, dict[str, Any]]]:
    """Number, prompt and inputs of each line."""
    lines = read(written(name, text), **{"default_model": MODEL, **options})
    return [(line.number, line.request.prompt, line.request.kwargs or {}) for line in lines]


def mistakes(name: str, text: str | bytes, **options: Any) -> list[tuple[int, str]]:
    with pytest.raises(ManifestError) as caught:
        items(name, text, **options)
    assert caught.value.source == name
    return caught.value.problems


# -- what is read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.txt", "a fox\n\n  a hen  \r\n", [(1, "a fox", {}), (3, "a hen", {})]),
        ("a.txt", "a fox", [(1, "a fox", {})]),
        ("a.txt", "\ufeffein Fuchs\n狐狸\n", [(1, "ein Fuchs", {}), (2, "狐狸", {})]),
        ("a.txt", "prompt,model\n", [(1, "prompt,model", {})]),
        ("a.txt", "same\nsame\n", [(1, "same", {}), (2, "same", {})]),
        ("a.txt", "", []),
        ("a.txt", " \n\n", []),
        ("a.csv", "prompt\na fox\n\na hen\n", [(2, "a fox", {}), (4, "a hen", {})]),
        ("a.csv", "prompt,seed\r\na fox,7\r\na hen,\r\n", [(2, "a fox", {"seed": "7"}), (3, "a hen", {})]),
        ("a.csv", "\ufeffPrompt,Model,seed\na fox,,7\n", [(2, "a fox", {"seed": "7"})]),
        ("a.csv", 'prompt,seed\n"a, ""b""\nc",7\nd,8\n', [(2, 'a, "b"\nc', {"seed": "7"}), (4, "d", {"seed": "8"})]),
        ("a.csv", "\n\nprompt;go_fast\na;true\n", [(4, "a", {"go_fast": "true"})]),
        ("a.tsv", "prompt\tseed\na, b\t7\n", [(2, "a, b", {"seed": "7"})]),
        ("a.csv", 'seed, prompt\n7, "a, b"\n', [(2, "a, b", {"seed": "7"})]),
        ("a.csv", "prompt,seed,\na,7,\nb,8,,\n", [(2, "a", {"seed": "7"}), (3, "b", {"seed": "8"})]),
        ("a.csv", "prompt,seed\nshort\n", [(2, "short", {})]),
        ("a.csv", "prompt\n", []),
        ("a.jsonl", '{"prompt": "a fox", "seed": 7}\n\n{"prompt": "b"}', [(1, "a fox", {"seed": 7}), (3, "b", {})]),
        (
            "a.jsonl",
            '{"prompt": "a", "image_input": ["x.png"], "seed": null}\r\n',
            [(1, "a", {"image_input": ["x.png"]})],
        ),
        ("a.ndjson", '{"prompt": "a"}\n', [(1, "a", {})]),
    ],
)
def test_formats(name: str, text: str, expected: list[tuple[int, str, dict[str, Any]]]) -> None:
    assert items(name, text) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "id,output,model,prompt\nx1,sub/a.png,me/mine,a fox\n"),
        ("a.jsonl", '{"id": "x1", "output": "sub/a.png", "model": "me/mine", "prompt": "a fox"}\n'),
    ],
)
def test_model_output_and_id(name: str, text: str) -> None:
    (line,) = read(written(name, text), default_model=MODEL)
    request = line.request
    assert (line.id, request.request_id, request.idempotent) == ("x1", "x1", True)
    assert (request.model_name, request.output_filepath, request.kwargs) == ("me/mine", "sub/a.png", {})


def test_lines_without_an_id_are_items_of_their_own() -> None:
    first, second = read(written("a.txt", "same\nsame\n"), default_model=MODEL)
    assert (first.id, first.request.idempotent) == (None, False)
    assert first.request.request_id != second.request.request_id


def test_number_as_id_is_its_text() -> None:
    (line,) = read(written("a.jsonl", '{"prompt": "a", "id": 17}'), default_model=MODEL)
    assert line.id == "17"


def test_defaults_give_way_to_the_line() -> None:
    text = '{"prompt": "a", "seed": 7}\n{"prompt": "b", "seed": null}\n'
    found = items("a.jsonl", text, defaults={"seed": "1", "go_fast": "no"})
    assert found == [(1, "a", {"seed": 7, "go_fast": "no"}), (2, "b", {"seed": "1", "go_fast": "no"})]


def test_images_start_where_the_list_is(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (line,) = read(written("lists/a.txt", "a fox"), default_model=MODEL)
    assert line.folder == tmp_path / "lists"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a fox\na hen\n", ["a fox", "a hen"]),
        ('{"prompt": "a fox"}\n', ["a fox"]),
        ("prompt,seed\na fox,7\n", ["a fox"]),
        ("", []),
    ],
)
def test_standard_input_shows_its_format(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, expected: list[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    with rereadable("-") as source:
        for _ in range(2):
            lines = list(read(source, default_model=MODEL))
            assert [line.request.prompt for line in lines] == expected
            assert all(line.folder == tmp_path for line in lines)


def test_pipe_is_read_twice_too() -> None:
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: written("pipe", "a fox\n"))
    writer.start()
    with rereadable("pipe") as source:
        for _ in range(2):
            assert [line.request.prompt for line in read(source, default_model=MODEL)] == ["a fox"]
    writer.join()


def test_a_list_is_never_held_in_memory() -> None:
    count = 5_000  # 2.6 MB of text
    with Path("long.jsonl").open("w") as file:
        for number in range(count):
            file.write(json.dumps({"prompt": f"fox {number} " + "x" * 500}) + "\n")
    lines: Iterator[ManifestLine] = read(Path("long.jsonl"), default_model=MODEL)
    next(lines)
    tracemalloc.start()
    try:
        assert sum(1 for _ in lines) == count - 1
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


# -- mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.txt", b"good\nb\xe4d\nb\xff\n", [(2, "not UTF-8 text"), (3, "not UTF-8 text")]),
        (
            "a.jsonl",
            '{"prompt": "a"}\n{"prompt": \n[1]\n',
            [(2, "not JSON (Expecting value"), (3, "not a JSON object")],
        ),
        ("a.jsonl", b'{"prompt": "\xe4"}\n', [(1, "not UTF-8 text")]),
        (
            "a.jsonl",
            '{"seed": 7, "id": 5.5}\n{"prompt": " "}\n',
            [(1, "id is 5.5; allowed: text"), (2, "prompt is ' '; allowed")],
        ),
        ("a.jsonl", '{"prompt": 5}\n{"prompt": []}\n', [(1, "prompt is 5; allowed: text"), (2, "prompt is []")]),
        ("a.jsonl", '{"prompt": "a", "seed": NaN}', [(1, "not JSON (NaN is no number)")]),
        ("a.jsonl", '{"prompt": "a", "output": 5}', [(1, "output is 5; allowed: text")]),
        ("a.jsonl", '{"prompt": "a", "model": ["x"]}', [(1, "model is ['x']; allowed: text")]),
        ("a.jsonl", '{"prompt": "a", "model": ""}', [(1, "model is ''; allowed: a model's name")]),
        ("a.jsonl", '{"prompt": "a", "id": true}', [(1, "id is True; allowed: text")]),
        ("a.jsonl", '{"prompt": "a", "id": " "}', [(1, "id is ' '; allowed")]),
        ("a.jsonl", "[" * 100_000, [(1, "not JSON")]),
        ("a.csv", "text,seed\na,7\n", [(1, "no column 'prompt'; found: text, seed")]),
        ("a.csv", "prompt,seed,seed\na,7,8\n", [(1, "two columns named 'seed'")]),
        ("a.csv", "prompt,seed\na,7,8\nb,9\n", [(2, "a cell under no column name")]),
        ("a.csv", "prompt,,seed\na,b,7\n", [(2, "a cell under no column name; the columns are prompt, seed")]),
        ("a.csv", 'prompt\n"a\nb"\n,x\n"never closed\n', [(4, "a cell under"), (5, "not CSV (unexpected end")]),
        ("a.csv", b"prompt\ngood\nb\xe4d\n", [(3, "not UTF-8 text (invalid continuation byte at byte 2")]),
        ("a.csv", f"prompt\n{'x' * 200_000}\n", [(2, "not CSV (field larger than field limit")]),
        ("a.txt", f"good\n{'x' * 2_000_000}\n", [(2, "longer than 1 MiB")]),
        ("a.csv", "prompt,id\na,x\nb,y\nc,x\n", [(4, "id 'x' is that of line 2 already")]),
        ("a.csv", "prompt,output\na,x.png\nb,./x.png\n", [(3, "output 'x.png' is that of line 2 already")]),
    ],
)
def test_mistakes_are_named_by_line(name: str, text: str | bytes, expected: list[tuple[int, str]]) -> None:
    found = mistakes(name, text)
    assert [number for number, _ in found] == [number for number, _ in expected]
    for (_, reason), (_, said) in zip(found, expected, strict=True):
        assert reason.startswith(said)
        assert "\n" not in reason


@pytest.mark.parametrize(
    "output",
    [
        "../a.png",
        "a/../../b.png",
        "/etc/a.png",
        "\\a.png",
        "C:\\a.png",
        "c:/a.png",
        "a\\..\\b.png",
        "..",
        "a/",
        "a\0b",
    ],
)
def test_outputs_that_leave_the_folder_are_refused(output: str) -> None:
    ((number, reason),) = mistakes("a.jsonl", json.dumps({"prompt": "a", "output": output}))
    assert number == 1
    assert reason.startswith(f"output is {output!r}; allowed: ")


@pytest.mark.parametrize("output", ["a.png", "sub/b.png", "..hidden.png", "a..b/c.png", "16:9.png", "狐.png"])
def test_outputs_within_the_folder(output: str) -> None:
    (line,) = read(written("a.jsonl", json.dumps({"prompt": "a", "output": output})), default_model=MODEL)
    assert line.request.output_filepath == output


def test_every_line_needs_a_model() -> None:
    text = '{"prompt": "a", "model": "x/y"}\n{"prompt": "b"}\n'
    assert mistakes("a.jsonl", text, default_model=None) == [
        (2, "no model; name one with -m, or in a column 'model'")
    ]


def test_good_lines_are_yielded_before_the_mistakes_are_raised() -> None:
    lines = read(written("a.jsonl", '{"prompt": "a"}\n{\n{"prompt": "c"}\n'), default_model=MODEL)
    assert [next(lines).number, next(lines).number] == [1, 3]
    with pytest.raises(ManifestError, match=r"^a\.jsonl, line 2: not JSON"):
        next(lines)


def test_mistakes_a_check_finds_are_among_them() -> None:
    def check(line: ManifestLine) -> None:
        if line.request.prompt == "b":
            raise RequestError("no b here")

    text = '{"prompt": "a"}\n{"prompt": "b"}\n{\n'
    found = mistakes("a.jsonl", text, check=check)
    assert found[0] == (2, "no b here")
    assert [number for number, _ in found] == [2, 3]


def test_fifty_mistakes_are_shown_and_the_rest_counted() -> None:
    with pytest.raises(ManifestError) as caught:
        items("a.jsonl", "{\n" * 62)
    shown = str(caught.value).splitlines()
    assert len(shown) == 51
    assert shown[-1] == "a.jsonl, line 51: and 12 more from here on"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gone.txt", "gone.txt: cannot be read (No such file or directory)"),
        ("folder", "folder: cannot be read (Is a directory)"),
        ("a.docx", "a.docx: .docx is no list of prompts; allowed: .txt, .csv, .jsonl, or - as the name"),
    ],
)
def test_lists_that_cannot_be_read(name: str, said: str) -> None:
    Path("folder").mkdir()
    Path("a.docx").touch()
    with pytest.raises(RequestError) as caught, rereadable(name) as source:
        list(read(source))
    assert str(caught.value) == said


# -- -i key=value -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pairs", "inputs"),
    [
        ([], {}),
        (["seed=7", "aspect_ratio=16:9"], {"seed": "7", "aspect_ratio": "16:9"}),
        (["negative_prompt=a=b, c"], {"negative_prompt": "a=b, c"}),
        (["negative_prompt="], {"negative_prompt": ""}),
        (
            ["image_input=a.png", "image_input=b.png", "image_input=c.png"],
            {"image_input": ["a.png", "b.png", "c.png"]},
        ),
    ],
)
def test_pairs(pairs: list[str], inputs: dict[str, Any]) -> None:
    assert parse_inputs(pairs) == inputs


@pytest.mark.parametrize("pair", ["seed", "=7", " =7", "prompt=x", "model=x", "output=x", "id=x"])
def test_bad_pairs(pair: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_inputs([pair])
    assert str(caught.value).startswith(f"-i {pair!r}; ")


# -- whatever is written is read ----------------------------------------------------------------------------------

PROMPTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip)


@given(st.lists(st.tuples(PROMPTS, st.none() | st.integers(0, 99)), max_size=20))
def test_csv_and_jsonl_say_the_same(rows: list[tuple[str, int | None]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([("prompt", "seed"), *((prompt, "" if seed is None else seed) for prompt, seed in rows)])
    lines = "".join(json.dumps({"prompt": prompt.strip(), "seed": seed}) + "\n" for prompt, seed in rows)
    from_csv = [(prompt, inputs.get("seed")) for _, prompt, inputs in items("a.csv", text.getvalue())]
    from_jsonl = [(prompt, inputs.get("seed")) for _, prompt, inputs in items("a.jsonl", lines)]
    assert from_csv == [(prompt, None if seed is None else str(seed)) for prompt, seed in from_jsonl]


@given(st.binary(max_size=300), st.sampled_from(["a.txt", "a.csv", "a.jsonl"]))
def test_anything_is_read_or_refused_in_words(content: bytes, name: str) -> None:
    try:
        for _, prompt, _ in items(name, content):
            assert prompt.strip()
    except ManifestError as error:
        assert error.problems
