"""Outputs of every kind land under the extension of their bytes, byte for byte where nothing was asked."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

import replibatch
from replibatch import BatchRequest
from replibatch.requests import BatchResult
from replibatch.sandbox import Sandbox
from replibatch.sandbox.hosting import ModelSpec
from replibatch.sandbox.media import EXTENSIONS

TEXT = {"type": "string"}
OBJECT = {"type": "object", "properties": {"score": {"type": "number"}, "labels": {"type": "array", "items": TEXT}}}


def made(sandbox: Sandbox, specs: dict[str, ModelSpec], kinds: dict[str, str]) -> dict[str, BatchResult]:
    """One request without a name to each model; the results by model."""
    sandbox.settings.models = {f"acme/{name}": spec for name, spec in specs.items()}
    tables = (f'["acme/{name}"]\nkind = "{kinds.get(name, "file")}"\nprice_usd = 0.01\n' for name in specs)
    Path("replibatch.toml").write_text("".join(tables))
    requests = [BatchRequest("see https://example.com/a.png", f"acme/{name}") for name in specs]
    return dict(zip(specs, replibatch.enqueue_batch(requests, max_concurrent=8).results(120), strict=True))


def test_files_of_every_kind_are_named_by_their_bytes(sandbox: Sandbox) -> None:
    specs = {
        extension.replace(".", "-"): ModelSpec(inputs={"prompt": TEXT}, gives=f"output-{extension}")
        for extension in EXTENSIONS
    }
    results = made(sandbox, specs, {})
    assert len(specs) >= 12
    for extension in EXTENSIONS:
        result = results[extension.replace(".", "-")]
        assert result.success, f"{extension}: {result.error}"
        (file,) = result.files
        usual = {"jpeg": "jpg"}.get(extension, extension)
        assert Path(file.path).suffix == f".{usual}", extension
        assert file.url is not None and httpx.get(file.url).content == file.read(), extension
        assert not [warning for warning in result.warnings if "kept as it is" in warning]


def test_text_stays_text_and_structures_are_kept(sandbox: Sandbox) -> None:
    iterator = {"type": "array", "items": TEXT, "x-cog-array-type": "iterator"}
    specs = {
        "text": ModelSpec(inputs={"prompt": TEXT}, output=TEXT, gives="text"),
        "pieces": ModelSpec(inputs={"prompt": TEXT}, output=iterator, gives="text-pieces"),
        "texts": ModelSpec(inputs={"prompt": TEXT}, output={"type": "array", "items": TEXT}, gives="output-texts"),
        "object": ModelSpec(inputs={"prompt": TEXT}, output=OBJECT, gives="output-object"),
        "payload": ModelSpec(inputs={"prompt": TEXT}, output={"type": "object"}, gives="output-payload"),
    }
    results = made(sandbox, specs, {"text": "text", "pieces": "text", "texts": "text"})
    served_before = sandbox.books.outputs_served.total()
    prompt = "see https://example.com/a.png"
    texts = {name: Path(result.file_paths[0]) for name, result in results.items()}
    assert texts["text"].read_text() == f"A text about: {prompt}"
    assert texts["pieces"].read_text() == f"A text about: {prompt}"
    assert texts["texts"].read_text().splitlines()[0] == f"{prompt} 0"
    assert texts["object"].suffix == ".json" and '"labels"' in texts["object"].read_text()
    assert [Path(path).suffix for path in results["payload"].file_paths] == [".png", ".json"]
    assert "seed" in Path(results["payload"].file_paths[1]).read_text()
    assert served_before == 1  # the one file there was


def test_a_text_for_a_picture_is_a_failure_that_was_paid_for(sandbox: Sandbox) -> None:
    forms = ("output-words", "output-object", "output-txt", "output-json")
    price = {"usd": 0.01, "per": "call"}
    specs = {form: ModelSpec(inputs={"prompt": TEXT}, gives=form, price=price) for form in forms}
    for form, result in made(sandbox, specs, dict.fromkeys(forms, "image")).items():
        assert not result.success and result.attempts[0].reason == "no_output", form
        assert "allowed: a file of the kind image" in (result.error or "")
        assert result.cost_usd == pytest.approx(0.01)
    assert sandbox.books.cost_usd == pytest.approx(0.04) and len(sandbox.books.create_times) == 4
