"""Requests come out of the pending list as they went in, and what they share is kept once."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from replibatch.jobs.packing import (
    MOST_SHAPES,
    WHOLE,
    Packer,
    PendingEntry,
    compact,
    pack_result,
    read_request,
    read_result,
    unpack,
)
from replibatch.requests import Attempt, BatchResult, OutputFile, RoutedRequest, State

MODEL = "a/model"
texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=30)
requests = st.builds(
    RoutedRequest,
    request_id=st.sampled_from(["id-7", "another"]),
    prompt=texts,
    asked_model=st.sampled_from([MODEL, "b/model"]),
    model=st.just(MODEL),
    inputs=st.dictionaries(st.sampled_from(["(seed)", "seed", "width", "style"]), st.integers() | texts, max_size=4),
    references=st.lists(texts, max_size=2).map(tuple),
    output=st.sampled_from(["fox.png", "a/b/fox.png", "/abs/fox.png"]),
    fallback=st.booleans(),
    warnings=st.lists(texts, max_size=2).map(tuple),
    max_retries=st.none() | st.integers(0, 5),
)


attempts = st.builds(
    Attempt,
    model=st.sampled_from([MODEL, "b/model"]),
    prediction_id=st.none() | texts,
    outcome=st.sampled_from(["succeeded", "failed"]),
    reason=st.none() | st.just("sensitive"),
    message=st.none() | texts,
    seconds=st.sampled_from([0.0, 1.25]),
    cost_usd=st.sampled_from([0.0, 0.025]),
)
results = st.builds(
    BatchResult,
    request_id=texts,
    prompt=st.sampled_from(["", "a fox"]),
    model_name=st.just(MODEL),
    model_used=st.sampled_from([None, MODEL, "b/model"]),
    success=st.booleans(),
    files=st.lists(
        st.builds(OutputFile, texts, st.none() | texts, st.none() | texts, st.none() | st.integers()), max_size=2
    ).map(tuple),
    error=st.none() | texts,
    duration=st.sampled_from([0.0, 1.25]),
    warnings=st.lists(texts, max_size=2).map(tuple),
    attempts=st.lists(attempts, max_size=3).map(tuple),
    cost_usd=st.sampled_from([0.0, 0.025, 0.05]),
    placeholder=st.booleans(),
    state=st.sampled_from([State.SUCCEEDED, State.PLACEHOLDER, State.FAILED, State.CANCELED]),
    inputs=st.sampled_from(
        [{}, {"prompt": "a fox"}, {"prompt": "a fox", "seed": 1}, {"seed": 1, "prompt": "a fox"}, {"prompt": "b"}]
    ),
)


def request(prompt: str, **inputs: object) -> RoutedRequest:
    return RoutedRequest("id", prompt, MODEL, MODEL, dict(inputs), (), f"a folder/{prompt}.png")


@given(st.lists(requests, min_size=1, max_size=5))
def test_a_request_comes_out_as_it_went_in(given_requests: list[RoutedRequest]) -> None:
    packer = Packer()
    entries = [PendingEntry("id-7", place, each) for place, each in enumerate(given_requests)]
    packed = [packer.pack(entry) for entry in entries]
    shapes = packer.fresh()
    assert [unpack(text, shapes) for text in packed] == entries
    for text, entry in zip(packed, entries, strict=True):
        # As the Lua joins the two: text to text.
        _, _, number, own = text.split("\t", 3)
        assert read_request("id-7", f"{shapes[number][:-1]},{own[1:]}") == entry.request


def test_what_requests_have_in_common_is_kept_once() -> None:
    packer = Packer()
    entries = [PendingEntry("id", place, request(f"p{place}", width=512, seed=place)) for place in range(1000)]
    packed = [packer.pack(entry) for entry in entries]
    (shape,) = packer.fresh().values()
    assert "width" in shape and "a folder/" in shape
    assert not any(shared in text for text in packed for shared in (MODEL, "width", "a folder"))
    assert packer.fresh() == {}  # told once


def test_where_no_two_are_alike_shapes_do_not_pile_up() -> None:
    packer = Packer()
    entries = [PendingEntry("id", place, request("p", width=place)) for place in range(2 * MOST_SHAPES)]
    packed = [packer.pack(entry) for entry in entries]
    shapes = packer.fresh()
    assert len(shapes) == MOST_SHAPES and sum(f"\t{WHOLE}\t" in text for text in packed) == MOST_SHAPES
    assert [unpack(text, shapes) for text in packed] == entries


def test_a_request_of_a_single_job_is_read_as_it_is() -> None:
    single = request("p", width=3)
    assert read_request("other", compact(single.to_json())) == single
    assert json.loads(compact({"ä": [1]})) == {"ä": [1]} and compact({"ä": [1]}) == '{"ä":[1]}'


@given(results)
def test_a_result_comes_out_as_it_went_in(result: BatchResult) -> None:
    packed = pack_result(result)
    assert read_result(packed) == result and list(read_result(packed).inputs) == list(result.inputs)
    assert read_result(json.dumps(result.to_json())) == result, "as it was kept before"


def test_nothing_of_a_result_is_kept_twice() -> None:
    attempt = Attempt(MODEL, "a-prediction", "succeeded", None, None, 4.2, 0.025)
    file = OutputFile("a/fox.webp", "https://replicate.delivery/fox.webp", "0" * 64, 1234)
    inputs = {"prompt": "a fox", "seed": 7}
    result = BatchResult(
        "id-7", "a fox", MODEL, MODEL, True, (file,), duration=4.5, attempts=(attempt,), cost_usd=0.025, inputs=inputs
    )
    packed = pack_result(result)
    once = ("a fox", "a/fox.webp", MODEL, "0.025", "a-prediction")
    assert [packed.count(text) for text in once] == [1] * len(once)
    assert "null" not in packed and "false" not in packed
