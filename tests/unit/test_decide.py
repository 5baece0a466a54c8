"""What follows a failed attempt."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replibatch.catalog import Catalog, load
from replibatch.errors import (
    AttemptFailure,
    Interrupted,
    InvalidInput,
    MaybeCreated,
    ModelMissing,
    NoOutput,
    NotCreated,
    NotSaved,
    OutputErased,
    PredictionCanceled,
    PredictionFailed,
    PredictionTimedOut,
    Sensitive,
    Throttled,
)
from replibatch.execution.decide import Decision, GiveUp, NextModel, Retry, Wait, decide
from replibatch.requests import Attempt
from tests.support.catalogue import FLUX, IMAGEN, KLING, KONTEXT, NANO, QWEN, ULTRA, VEO

CATALOG = load()


def attempt(model: str, number: int = 1) -> Attempt:
    return Attempt(model, f"p{number}", "failed", "failed", "no", 1.0, 0.0)


def after(
    failure: AttemptFailure,
    *models: str,
    references: int = 0,
    fallback: bool = True,
    max_retries: int = 3,
    catalog: Catalog = CATALOG,
) -> Decision:
    """The decision after attempts on these models, the last of which failed so."""
    model = catalog.get(models[-1])
    attempts = [attempt(name, number) for number, name in enumerate(models)]
    subset = catalog.subset(models[0])
    return decide(failure, attempts, model, subset, references=references, fallback=fallback, max_retries=max_retries)


def chain(first: str, references: int = 0, catalog: Catalog = CATALOG) -> list[str]:
    """The models tried when every one of them flags the prompt."""
    tried = [first]
    while isinstance(decision := after(Sensitive("no"), *tried, references=references, catalog=catalog), NextModel):
        tried.append(decision.model)
    assert isinstance(decision, GiveUp)
    return tried


@pytest.mark.parametrize(
    ("references", "tried"),
    [
        (0, [NANO, IMAGEN, FLUX, KONTEXT, QWEN]),
        (0, [IMAGEN, FLUX, KONTEXT, QWEN]),
        (0, [FLUX, KONTEXT, QWEN]),
        (0, [KONTEXT, QWEN, FLUX]),
        (0, [QWEN, FLUX, KONTEXT]),
        (0, [ULTRA, FLUX, KONTEXT, QWEN]),
        (0, [VEO]),
        (0, [KLING]),
        (1, [KONTEXT, NANO]),
        (1, [NANO, KONTEXT]),
        (1, [ULTRA, KONTEXT, NANO]),
        (2, [NANO]),
        (1, [VEO]),
    ],
)
def test_the_triangle(references: int, tried: list[str]) -> None:
    assert chain(tried[0], references) == tried


@pytest.mark.parametrize("kind", [Sensitive, PredictionFailed, PredictionTimedOut, NoOutput, ModelMissing])
def test_another_model_may_do_better(kind: type[AttemptFailure]) -> None:
    assert after(kind("no"), IMAGEN) == NextModel(FLUX)


@pytest.mark.parametrize("kind", [InvalidInput, PredictionCanceled, NotSaved, OutputErased, MaybeCreated])
def test_no_other_model_is_paid_for(kind: type[AttemptFailure]) -> None:
    assert isinstance(after(kind("no"), IMAGEN), GiveUp)


@pytest.mark.parametrize("kind", [Interrupted, NotCreated])
def test_passing_faults_are_tried_again_and_then_elsewhere(kind: type[AttemptFailure]) -> None:
    pauses = []
    for tries in (1, 2, 3, 4):
        decision = after(kind("busy"), *[IMAGEN] * tries, max_retries=5)
        assert isinstance(decision, Retry)
        pauses.append(decision.pause_seconds)
    assert 0.5 < pauses[0] < 2
    assert all(1.1 < later / earlier < 3.5 for earlier, later in itertools.pairwise(pauses))
    assert after(kind("busy"), *[IMAGEN] * 5, max_retries=5) == NextModel(FLUX)
    assert after(kind("busy"), IMAGEN, max_retries=0) == NextModel(FLUX)
    assert isinstance(after(kind("busy"), *[VEO] * 3), GiveUp)


def test_every_model_has_its_own_tries() -> None:
    assert isinstance(after(Interrupted("busy"), IMAGEN, IMAGEN, IMAGEN, FLUX), Retry)
    assert isinstance(after(Interrupted("busy"), IMAGEN, IMAGEN, IMAGEN, FLUX, FLUX, FLUX), NextModel)


def test_pauses_are_bounded_part_and_repeat() -> None:
    def pause(number: int, tries: int) -> float:
        attempts = [attempt(FLUX, number)] * tries
        decision = decide(
            Interrupted("busy"),
            attempts,
            CATALOG.get(FLUX),
            CATALOG.models,
            references=0,
            fallback=True,
            max_retries=100,
        )
        assert isinstance(decision, Retry)
        return decision.pause_seconds

    assert pause(7, 2) == pause(7, 2)
    assert len({pause(number, 1) for number in range(20)}) > 15
    assert pause(1, 99) <= 75


def test_throttled_waits_as_long_as_told() -> None:
    assert after(Throttled("slow down", 7.5), *[FLUX] * 10) == Wait(7.5)
    assert after(Throttled("slow down"), FLUX, fallback=False) == Wait(None)


def test_throttled_attempts_are_no_tries() -> None:
    throttled = replace(attempt(IMAGEN), reason="throttled")
    for refusals in (0, 5):
        attempts = [throttled] * refusals + [attempt(IMAGEN)] * 2
        decision = decide(
            Interrupted("busy"),
            attempts,
            CATALOG.get(IMAGEN),
            CATALOG.models,
            references=0,
            fallback=True,
            max_retries=3,
        )
        assert isinstance(decision, Retry)


def test_without_fallback_the_same_model_is_still_tried_again() -> None:
    assert isinstance(after(Sensitive("no"), FLUX, fallback=False), GiveUp)
    assert isinstance(after(Interrupted("busy"), FLUX, fallback=False), Retry)
    assert isinstance(after(Interrupted("busy"), FLUX, FLUX, FLUX, fallback=False), GiveUp)


def test_the_reason_for_giving_up_is_in_words() -> None:
    assert after(Sensitive("no"), KONTEXT, NANO, references=1) == GiveUp(
        f"after {NANO} (sensitive) no model is left that takes its reference images"
    )


def test_conditions_of_edges() -> None:
    Path("replibatch.toml").write_text(
        f"""
        ["{IMAGEN}"]
        fallback = [
            {{ model = "{QWEN}", on = ["invalid_input", "canceled"] }},
            {{ model = "{FLUX}", on = "sensitive" }},
        ]
        """
    )
    catalog = load()
    assert after(InvalidInput("no"), IMAGEN, catalog=catalog) == NextModel(QWEN)
    assert after(PredictionCanceled("no"), IMAGEN, catalog=catalog) == NextModel(QWEN)
    assert after(Sensitive("no"), IMAGEN, catalog=catalog) == NextModel(FLUX)
    assert isinstance(after(PredictionFailed("no"), IMAGEN, catalog=catalog), GiveUp)
    assert after(InvalidInput("no"), NANO, catalog=catalog) != NextModel(IMAGEN)


@given(st.data())
def test_any_graph_ends_each_model_once_and_images_fit(data: st.DataObject) -> None:
    names = [f"m/{letter}" for letter in "abcde"]
    tables = {
        name: data.draw(st.lists(st.tuples(st.sampled_from(names), st.booleans()), max_size=4), label=name)
        for name in names
    }
    takes = {name: data.draw(st.integers(0, 3), label=f"{name} takes") for name in names}
    references = data.draw(st.integers(0, 3), label="references")
    models = {
        name: CATALOG.get(NANO).from_json(
            {
                **CATALOG.get(NANO).to_json(),
                "name": name,
                "reference_max": takes[name],
                "fallback": [{"model": target, "references": only} for target, only in edges],
            }
        )
        for name, edges in tables.items()
    }
    tried = ["m/a"]
    while True:
        decision = decide(
            Sensitive("no"),
            [attempt(name) for name in tried],
            models[tried[-1]],
            models,
            references=references,
            fallback=True,
            max_retries=3,
        )
        if isinstance(decision, GiveUp):
            break
        assert isinstance(decision, NextModel)
        tried.append(decision.model)
        assert takes[decision.model] >= references
    assert len(set(tried)) == len(tried)
    direct = {target for target, only in tables[tried[-1]] if references or not only}
    assert not {name for name in direct if takes[name] >= references} - set(tried), "nobody is left untried"
