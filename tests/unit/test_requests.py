"""Requests and results: what is refused when they are made, and that JSON brings them back whole."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from replibatch.errors import RequestError
from replibatch.requests import (
    Attempt,
    BatchRequest,
    BatchResult,
    OutputFile,
    RoutedRequest,
    State,
    StepResult,
    new_id,
)


class TestBatchRequest:
    @pytest.mark.parametrize("prompt", ["  \n", 5, b"a cat", ["a cat"], "half \ud83d"])
    def test_a_prompt_is_a_text_with_something_in_it(self, prompt):
        with pytest.raises(RequestError) as caught:
            BatchRequest(prompt, "qwen/qwen-image")
        assert str(caught.value) == f"prompt is {prompt!r}; allowed: a text that is not empty"

    @pytest.mark.parametrize("model", [None, "", 7])
    def test_a_model_is_named(self, model):
        with pytest.raises(RequestError, match=r"^model_name is .*; allowed: "):
            BatchRequest("a cat", model)

    @pytest.mark.parametrize("value", ["half \ud83d", ["whole", "half \ud83d"]])
    def test_inputs_are_unicode_too(self, value):
        with pytest.raises(RequestError, match=r"^'negative_prompt' is .*; allowed: Unicode") as caught:
            BatchRequest("a cat", "qwen/qwen-image", kwargs={"negative_prompt": value})
        str(caught.value).encode()

    @pytest.mark.parametrize("kwargs", [[], "seed=1", {1: 2}, [("seed", 1)]])
    def test_inputs_are_a_dict_by_name(self, kwargs):
        with pytest.raises(RequestError, match=r"^kwargs is .*; allowed: a dict"):
            BatchRequest("a cat", "qwen/qwen-image", kwargs=kwargs)

    @pytest.mark.parametrize("field", ["output_filepath", "request_id"])
    @pytest.mark.parametrize("value", ["", " ", 3])
    def test_what_may_be_left_out_may_not_be_empty(self, field, value):
        with pytest.raises(RequestError, match=f"^{field} is .*; allowed: .* or None"):
            BatchRequest("a cat", "qwen/qwen-image", **{field: value})

    def test_no_inputs_are_an_empty_dict_of_its_own(self):
        first, second = (BatchRequest("a cat", "qwen/qwen-image", kwargs=kwargs) for kwargs in (None, {}))
        assert first.kwargs == second.kwargs == {}
        assert first.kwargs is not second.kwargs

    def test_a_dict_that_is_used_again_changes_no_earlier_request(self):
        inputs = {"seed": 1}
        request = BatchRequest("a cat", "qwen/qwen-image", kwargs=inputs)
        inputs["seed"] = 2
        assert request.kwargs == {"seed": 1}

    @pytest.mark.parametrize("path", [Path("a/b.png"), PurePosixPath("a/b.png")])
    def test_an_output_may_be_a_path(self, path):
        assert BatchRequest("a cat", "qwen/qwen-image", path).output_filepath == "a/b.png"

    def test_an_id_is_made_unless_one_is_given_and_only_a_given_one_is_a_key(self):
        made = {BatchRequest("a cat", "qwen/qwen-image").request_id for _ in range(100)}
        assert len(made) == 100
        assert not BatchRequest("a cat", "qwen/qwen-image").idempotent
        given = BatchRequest("a cat", "qwen/qwen-image", request_id="mine")
        assert given.idempotent
        assert given.request_id == "mine"

    def test_ids_have_no_letters_that_are_misread(self):
        assert not set("ilou") & set(new_id(1000))


class TestJSON:
    def test_a_routed_request_comes_back_whole(self):
        request = RoutedRequest(
            "r", "ein Prompt: 猫", "a/b", "c/d", {"seed": 0, "go_fast": False, "x": None}, ("file:1.png",), "o.png",
            fallback=False, on_outage="fallback", warnings=("w",), max_retries=0,
        )  # fmt: skip
        assert RoutedRequest.from_json(json.loads(json.dumps(request.to_json()))) == request

    def test_defaults_of_a_routed_request_are_not_carried(self):
        request = RoutedRequest("r", "p", "a/b", "a/b", {}, (), "o.png")
        assert request.to_json().keys() == {"request_id", "prompt", "asked_model", "model", "output"}
        assert RoutedRequest.from_json(request.to_json()) == request

    def test_what_is_done_in_an_outage_is_so_for_every_step(self):
        second = RoutedRequest("r", "p", "a/b", "a/b", {}, (), "o.png", step=2, after=1)
        first = RoutedRequest("r", "p", "a/b", "a/b", {}, (), "o.png", on_outage="fallback", then=(second,))
        made = StepResult(1, 0, "p", "a/b", "a/b", (), {}, 0.0)
        assert first.following(made, ()).on_outage == "fallback"
        assert replace(first, on_outage="hold").following(made, ()).on_outage == "hold"

    def test_a_result_comes_back_whole(self):
        result = BatchResult(
            "r", "p", "a/b", None, False, (OutputFile("o.png", None, "00", 1),), "a/b: no", 1.5, ("w",),
            (Attempt("a/b", None, "failed", "sensitive", "no", 0.5, 0.0),), 0.04, True, State.PLACEHOLDER, {"n": 1},
        )  # fmt: skip
        data = json.loads(json.dumps(result.to_json()))
        assert data["file_paths"] == ["o.png"]
        assert data["state"] == "placeholder"
        assert BatchResult.from_json(data) == result

    def test_what_a_later_version_has_to_tell_besides_is_left_out(self):
        attempt = Attempt("a/model", "p1", "succeeded", None, None, 1.0, 0.5)
        result = BatchResult("r", "a cat", "a/model", "a/model", True, (OutputFile("a.png"),), attempts=(attempt,))
        data = json.loads(json.dumps(result.to_json()))
        for later in (data, data["attempts"][0], data["files"][0]):
            later["mood"] = "good"
        assert BatchResult.from_json(data) == result


class TestOutputFile:
    def test_it_is_read_whole_or_in_pieces(self, tmp_path):
        content = bytes(range(256)) * 2100
        path = tmp_path / "o.bin"
        path.write_bytes(content)
        file = OutputFile(str(path))

        async def pieces() -> list[bytes]:
            return [piece async for piece in file]

        assert file.read() == asyncio.run(file.aread()) == content
        for read in (list(file), asyncio.run(pieces())):
            assert b"".join(read) == content
            assert len(read) == 3


def test_states_are_final_once_there_is_a_result():
    assert {state for state in State if not state.is_final} == {State.PENDING, State.QUEUED, State.RUNNING}
