"""Models of the user's own, with the inputs they publish, asked of the stand-in over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import replibatch
from replibatch import catalog
from replibatch.catalog.published import FRESH_SECONDS
from replibatch.errors import SettingsError
from replibatch.producer.published_inputs import load_catalog
from replibatch.sandbox import Sandbox, SandboxSettings
from replibatch.settings import load

FULL = """
["me/painter"]
kind = "image"
price_usd = 0.01
price_unit = "image"
typical_seconds = 0.2

["me/painter".inputs]
style = { enum = ["ink", "wash"], default = "wash" }
steps = { type = "integer", minimum = 1, maximum = 50, default = 28 }
pictures = { type = "array", items = "uri" }
seed = "integer"
"""
# The same without what the model publishes itself.
BRIEF = """
["me/painter"]
kind = "image"
price_usd = 0.01
price_unit = "image"
typical_seconds = 0.2
reference_param = "pictures"
reference_max = 2
inputs.steps = { maximum = 40 }
"""
WITHOUT_REFERENCES = BRIEF.replace('reference_param = "pictures"\nreference_max = 2\ninputs', "inputs").replace(
    "{ maximum", '{ type = "integer", maximum'
)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A stand-in that has the model, with the environment pointing at it."""
    full = tmp_path / "full.toml"
    full.write_text(FULL)
    settings = SandboxSettings(latency_seconds=0.1)
    with Sandbox(settings, catalog=catalog.load(full)) as sandbox:
        monkeypatch.setenv("REPLICATE_BASE_URL", sandbox.url)
        monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_of_the_tests")
        yield sandbox


def test_the_toml_is_laid_over_what_the_model_publishes(published: Sandbox) -> None:
    Path("replibatch.toml").write_text(BRIEF)
    model = load_catalog(load()).get("me/painter")
    assert set(model.inputs) == {"prompt", "style", "steps", "pictures", "seed"}
    assert model.inputs["style"].enum == ("ink", "wash")
    assert (model.inputs["steps"].minimum, model.inputs["steps"].maximum) == (1, 40)
    assert model.reference_is_list and model.seed_param == "seed"


def test_it_is_asked_once_a_day_and_an_old_answer_is_better_than_none(
    published: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("replibatch.toml").write_text(BRIEF)
    for _ in range(3):
        load_catalog(load())
    assert published.books.reads_by_kind["model"] == 1
    (kept,) = load().state_dir.rglob("schemas/*/*.json")
    assert "r8_of_the_tests" not in kept.read_text()
    _make_old(kept)
    load_catalog(load())
    assert published.books.reads_by_kind["model"] == 2
    _make_old(kept)
    published.stop()
    assert "style" in load_catalog(load()).get("me/painter").inputs
    monkeypatch.delenv("REPLICATE_API_TOKEN")
    assert "style" in load_catalog(load()).get("me/painter").inputs


def _make_old(kept: Path) -> None:
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"read_at": time.time() - FRESH_SECONDS - 60}))


@pytest.mark.parametrize("why", ["no token", "no such model", "no server"])
def test_where_it_cannot_be_asked_the_toml_alone_holds(
    published: Sandbox, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    name = "me/other" if why == "no such model" else "me/painter"
    Path("replibatch.toml").write_text(WITHOUT_REFERENCES.replace("me/painter", name))
    if why == "no token":
        monkeypatch.delenv("REPLICATE_API_TOKEN")
    if why == "no server":
        published.stop()
    model = load_catalog(load()).get(name)
    assert set(model.inputs) == {"prompt", "steps"} and not model.inputs_known


def test_built_in_models_are_not_asked_for(published: Sandbox) -> None:
    Path("replibatch.toml").write_text('["qwen/qwen-image"]\nprice_usd = 0.03\n')
    load_catalog(load())
    assert published.books.reads_by_kind["model"] == 0


def test_the_model_is_run_with_inputs_the_toml_does_not_name(published: Sandbox) -> None:
    Path("replibatch.toml").write_text(BRIEF)
    files = replibatch.replicate_model_calling("a hill", "me/painter", "hill.png", style="ink", steps=7)
    assert Path(files[0]).exists()
    (bill,) = published.books.bills()
    assert (bill.input["style"], bill.input["steps"]) == ("ink", 7)
    with pytest.raises(ValueError, match="style is 'oil'; allowed: ink, wash"):
        replibatch.replicate_model_calling("a hill", "me/painter", style="oil")


def test_a_mistake_in_the_toml_is_still_one_line(published: Sandbox) -> None:
    Path("replibatch.toml").write_text(BRIEF.replace('kind = "image"', 'kind = "picture"'))
    with pytest.raises(SettingsError, match=r"^replibatch\.toml: me/painter: kind is 'picture'; allowed: 'image'"):
        load_catalog(load())
