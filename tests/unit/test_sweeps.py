"""`sweep`: every combination is a request of its own."""

from __future__ import annotations

import pytest

from replibatch import OUTPUT, BatchRequest, sweep
from replibatch.errors import RequestError

MODELS = ["qwen/qwen-image", "google/nano-banana"]


def test_every_combination_is_a_request_with_its_own_name_id_and_inputs() -> None:
    base = BatchRequest("a fox", MODELS[0], "out/fox.mp4", {"guidance": 3}, "mine").then("a/video", image=OUTPUT)
    made = list(sweep(base, model=MODELS, seed=range(2)))
    assert [(each.model_name, each.kwargs) for each in made] == [
        (model, {"guidance": 3, "seed": seed}) for model in MODELS for seed in (0, 1)
    ]
    assert [each.output_filepath for each in made][:2] == [
        "out/fox-qwen-image-seed-0.mp4",
        "out/fox-qwen-image-seed-1.mp4",
    ]
    assert len({each.request_id for each in made}) == 4 and all(each.idempotent for each in made)
    assert all(each.steps == base.steps for each in made) and base.kwargs == {"guidance": 3}


def test_ids_that_nobody_gave_are_made_up_each() -> None:
    made = list(sweep(BatchRequest("a fox", MODELS[0]), prompt=["a", "b", "c"]))
    assert [each.prompt for each in made] == ["a", "b", "c"]
    assert len({each.request_id for each in made}) == 3 and not any(each.idempotent for each in made)


@pytest.mark.parametrize(
    ("varied", "said"),
    [
        ({}, "nothing to vary"),
        ({"seed": "12"}, "seed is '12'"),
        ({"seed": []}, "no values"),
        ({"seed": 4}, "seed is 4"),
    ],
)
def test_what_is_no_list_of_values_is_refused(varied: dict[str, object], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        sweep(BatchRequest("a fox", MODELS[0]), **varied)  # type: ignore[arg-type]


def test_a_value_that_no_request_may_have_is_refused() -> None:
    with pytest.raises(RequestError, match="prompt is"):
        list(sweep(BatchRequest("a fox", MODELS[0]), prompt=[3]))
