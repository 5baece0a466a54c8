"""Requests come out of the pending list as they went in, and what they share is kept once."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from replibatch.ledger.packing import MOST_SHAPES, WHOLE, Packer, PendingEntry, compact, read_request, unpack
from replibatch.requests import RoutedRequest

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
