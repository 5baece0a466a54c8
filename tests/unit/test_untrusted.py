"""What a web user sent becomes a request that names nothing of this machine, or one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replibatch import BatchRequest
from replibatch.catalog.catalog import load as load_catalog
from replibatch.errors import RequestError
from replibatch.producer.files import Files
from replibatch.producer.prepare import Preparer
from replibatch.settings import load

MODEL = "qwen/qwen-image"
KONTEXT = "black-forest-labs/flux-kontext-max"
MODELS = (MODEL, KONTEXT)
SHA = "0" * 64


@pytest.fixture
def preparer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Preparer:
    monkeypatch.chdir(tmp_path)
    settings = load()
    return Preparer(load_catalog(), Files(settings, embedded=True, check_storage=lambda: None))


def untrusted(**data: object) -> BatchRequest:
    data = {"prompt": "a fox", "model_name": MODEL, **data}
    return BatchRequest.untrusted(data, models=MODELS, folder="users/42", namespace="42")


def test_a_plain_request(preparer: Preparer, tmp_path: Path) -> None:
    prepared = preparer(untrusted(output_filepath="a/fox.png", kwargs={"seed": 7}), "g", 0)
    assert prepared.output == str(tmp_path / "users/42/a/fox.png")
    assert prepared.within == str(tmp_path / "users/42")
    made_up = preparer(untrusted(), "g", 0).output
    assert made_up.startswith(str(tmp_path / "users/42/"))


@pytest.mark.parametrize(
    "output",
    [
        *("/etc/passwd", "../x.png", "a/../../x.png", ".env", "a/.ssh/rc", "", ".", ".."),
        *("C:\\x.png", "a\\..\\..\\x.png"),
        *("~/x.png/../..", "a\0.png", "a\x1b[31m.png", "a\u202egnp.png", "x" * 5000, 5, ["a"], {}, b"x", Path("x")),
    ],
)
def test_outputs_that_are_refused(output: object) -> None:
    with pytest.raises(RequestError) as refused:
        untrusted(output_filepath=output)
    assert "\n" not in str(refused.value) and "\x1b" not in str(refused.value) and len(str(refused.value)) < 400


@pytest.mark.parametrize(
    "data",
    [
        {"model_name": "somebody/else"},
        {"model_name": ["qwen/qwen-image"]},
        {"prompt": 5},
        {"prompt": "x" * 100_000},
        {"prompt": f"file:{SHA}.png"},
        {"kwargs": {"image": f"file:{SHA}.png"}},
        {"kwargs": {"image": "file:///etc/passwd"}},
        {"kwargs": {"image": ["FILE:///etc/passwd"]}},
        {"kwargs": {"api_key": "env:REPLICATE_API_TOKEN"}},
        {"kwargs": {"a": {"b": {"c": " env:HOME"}}}},
        {"kwargs": {"image": Path("/etc/passwd")}},
        {"kwargs": {"seed": 10**5000}},
        {"kwargs": {"seed": float("nan")}},
        {"kwargs": {f"i{number}": 1 for number in range(1000)}},
        {"kwargs": {"a": "x" * 2_000_000}},
        {"kwargs": []},
        {"request_id": "x" * 5000},
        {"request_id": 5},
        {"max_price_usd": 5},
        {"within": "/"},
        {"local_files": True},
        {"priority": 0},
    ],
    ids=lambda _: "data",  # some could not be written out
)
def test_requests_that_are_refused(data: dict[str, object]) -> None:
    with pytest.raises(RequestError) as refused:
        untrusted(**data)
    assert len(str(refused.value)) < 600


def test_nesting_without_end() -> None:
    deep: object = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(RequestError):
        untrusted(kwargs={"a": deep})


def test_no_file_of_this_machine_is_looked_at(preparer: Preparer, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    os.mkfifo(tmp_path / "fifo.png")
    answers = set()
    for place in ("secret.png", "nothing.png", "fifo.png", str(tmp_path / "secret.png"), "/etc/passwd", "/dev/zero"):
        for name in ("input_image", "image", "mask"):
            with pytest.raises(RequestError) as refused:
                preparer(untrusted(model_name=KONTEXT, kwargs={name: place}), "g", 0)
            answers.add(str(refused.value).replace(place, "…").replace(name, "…"))
    assert len(answers) == 1, "whether a file is there cannot be told from the answer"
    address = "https://example.com/cat.png"
    assert preparer(untrusted(model_name=KONTEXT, kwargs={"input_image": address}), "g", 0).references == (address,)


def test_local_files_can_be_refused_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPLIBATCH_LOCAL_FILES", "false")
    settings = load()
    files = Files(settings, embedded=True, check_storage=lambda: None)
    preparer = Preparer(load_catalog(), files, local_files=settings.local_files)
    with pytest.raises(RequestError, match="data URI"):
        preparer(BatchRequest("a fox", KONTEXT, kwargs={"input_image": "/etc/passwd"}), "g", 0)


def test_a_kept_reference_is_nobody_s_to_name(preparer: Preparer) -> None:
    for request in (
        BatchRequest(f"file:{SHA}.png", MODEL),
        BatchRequest("a fox", MODEL, kwargs={"negative_prompt": f"file:{SHA}.png"}),
        BatchRequest("a fox", KONTEXT, kwargs={"input_image": f"file:{SHA}.png"}),
    ):
        with pytest.raises(RequestError):
            preparer(request, "g", 0)


def test_the_same_id_of_two_users_is_two_jobs() -> None:
    data = {"prompt": "a fox", "model_name": MODEL, "request_id": "1"}
    ids = {BatchRequest.untrusted(data, models=MODELS, namespace=each).request_id for each in ("a", "b", "", None)}
    ids.add(BatchRequest.untrusted(data, models=MODELS, folder="x").request_id)
    ids.add(BatchRequest("a", MODEL, request_id="1").request_id)
    assert len(ids) == 5  # no namespace, and an empty one, are one


def test_an_output_stays_in_its_folder(preparer: Preparer, tmp_path: Path) -> None:
    (tmp_path / "users/42").mkdir(parents=True)
    (tmp_path / "users/42/up").symlink_to(tmp_path)
    with pytest.raises(RequestError, match="link"):
        preparer(untrusted(output_filepath="up/x.png"), "g", 0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON, JSON, JSON, JSON)
def test_any_json_is_a_request_or_one_line(prompt: object, model: object, output: object, inputs: object) -> None:
    try:
        request = untrusted(prompt=prompt, model_name=model, output_filepath=output, kwargs=inputs)
    except RequestError as error:
        assert len(str(error)) < 1000
    else:
        assert request.output_filepath is None or request.output_filepath.startswith("users/42/")
