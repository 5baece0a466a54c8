"""Models of every shape: added by their name, run through the queue, and given exactly what was asked."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import replibatch
from replibatch import BatchRequest
from replibatch.cli.app import commands
from replibatch.sandbox import Sandbox
from tests.support.shapes_of_models import SHAPES

SECRET = SHAPES["acme/with-secret"].sent["hf_token"]


def command(*arguments: str) -> str:
    """What a command says."""
    result = CliRunner().invoke(commands, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def bare(name: str) -> str:
    return name.removeprefix("deployment:").partition(":")[0]


@pytest.fixture
def models(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A stand-in with a model of every shape, and no catalogue in the working directory."""
    Path("replibatch.toml").unlink()
    sandbox.settings.models = {bare(name): shape.model for name, shape in SHAPES.items()}
    sandbox.settings.deployments = {"acme/prod": "acme/prod"}
    monkeypatch.setenv("SECRET_OF_THE_TESTS", SECRET)
    yield sandbox


def test_each_is_added_and_sent_exactly_what_was_asked(models: Sandbox) -> None:
    for name, shape in SHAPES.items():
        said = command("models", "add", name, "--price", "0.01", *shape.options)
        assert f"{name} is in replibatch.toml now" in said
    tables = tomllib.loads(Path("replibatch.toml").read_text())
    assert tables["acme/community"]["version"] == "ab" * 32
    assert tables["acme/with-secret"]["inputs"] == {"hf_token": "secret"}
    requests = [BatchRequest(shape.prompt, name, None, shape.inputs) for name, shape in SHAPES.items()]
    results = dict(zip(SHAPES, replibatch.enqueue_batch(requests).results(120), strict=True))
    given = {bill.model: bill.input for bill in models.books.bills()}
    for name, shape in SHAPES.items():
        result = results[name]
        assert result.success, f"{name}: {result.error}"
        assert not [each for each in result.warnings if "left out" in each or "not known" in each], result.warnings
        sent = {key: value for key, value in given[bare(name)].items() if key != "seed" or "seed" in shape.sent}
        assert sent == shape.sent, name
        assert tuple(Path(path).suffix.removeprefix(".") for path in result.file_paths) == shape.makes, name
        assert result.cost_usd == pytest.approx(0.01)
    assert models.books.cost_usd == pytest.approx(0.01 * len(SHAPES))
    labels = json.loads(Path(results["acme/segments"].file_paths[-1]).read_text())
    files = [Path(path).name for path in results["acme/segments"].file_paths[:2]]
    assert [(each["mask"], each["label"]) for each in labels] == list(zip(files, ["fox", "tree"], strict=True))


def test_what_is_gone_has_a_new_version_or_other_inputs_is_said(models: Sandbox) -> None:
    for name in ("acme/image", "acme/community", "acme/upscaler"):
        command("models", "add", name)
    changed: dict[str, Any] = dict(models.settings.models)
    changed["acme/image"] = SHAPES["acme/image"].model.model_copy(update={"missing": True})
    changed["acme/community"] = SHAPES["acme/community"].model.model_copy(update={"version": "12" * 32})
    inputs = {**SHAPES["acme/upscaler"].spec["inputs"], "face_enhance": {"type": "boolean"}}
    changed["acme/upscaler"] = SHAPES["acme/upscaler"].model.model_copy(update={"inputs": inputs})
    models.settings.models = changed
    result = CliRunner().invoke(commands, ["models", "check"])
    assert result.exit_code == 1
    lines = {line.partition(": ")[0]: line for line in result.stdout.splitlines()}
    assert "no official model acme/image" in lines["acme/image"]
    assert f"new version, {'12' * 32}" in lines["acme/community"]
    assert "takes also face_enhance" in lines["acme/upscaler"]
    assert lines["qwen/qwen-image"].endswith("as in the catalogue")
    assert result.stderr.splitlines()[-1] == "replibatch: gone: acme/image"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("acme/nothing", "no official model acme/nothing"),
        ("deployment:acme/none", "no deployment acme/none"),
        (f"acme/image:{'99' * 32}", "no version 9999"),
    ],
)
def test_what_is_not_there_is_not_added_and_the_line_says_which_kind_it_is(
    models: Sandbox, name: str, words: str
) -> None:
    result = CliRunner().invoke(commands, ["models", "add", name])
    assert result.exit_code == 1 and words in result.stderr and "Traceback" not in result.output
    assert not Path("replibatch.toml").exists()


def test_one_is_shown_before_it_is_added_and_its_table_written_anew_on_request(models: Sandbox) -> None:
    said = command("models", "show", "https://replicate.com/acme/upscaler")
    assert "acme/upscaler" in said and "scale: a number from 0 to 10, 4 if left out" in said
    assert "`replibatch models add acme/upscaler` adds it" in said
    Path("replibatch.toml").write_text('# my models\n["acme/image"]\nkind = "image"\nprice_usd = 0.5\n')
    command("models", "add", "acme/community")
    again = CliRunner().invoke(commands, ["models", "add", "acme/community"])
    assert again.exit_code == 2 and "--replace writes its table" in again.stderr
    changed = SHAPES["acme/community"].model.model_copy(update={"version": "12" * 32})
    models.settings.models = {**models.settings.models, "acme/community": changed}
    command("models", "add", "acme/community", "--replace", "--price", "0.2", "--per", "gpu_second")
    text = Path("replibatch.toml").read_text()
    assert text.startswith('# my models\n["acme/image"]') and text.count('["acme/community"]') == 1
    assert tomllib.loads(text)["acme/community"]["version"] == "12" * 32
    shown = json.loads(command("models", "show", "acme/community", "--json"))
    assert (shown["price_usd"], shown["price_unit"], shown["version"]) == (0.2, "gpu_second", "12" * 32)
