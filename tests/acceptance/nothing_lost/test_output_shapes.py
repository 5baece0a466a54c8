"""Every shape of output that a model can have, through the whole path: read whole, in chunks and asynchronously."""

from __future__ import annotations

import asyncio
from io import BytesIO
from pathlib import Path

import httpx
from PIL import Image

import replibatch
from replibatch import BatchRequest
from replibatch.requests import OutputFile
from replibatch.sandbox import Sandbox
from tests.support.catalogue import QWEN

SHAPES = {
    "file": ("a fox", "fox.png"),
    "list": ("three foxes [[many:3]]", "foxes.webp"),
    "data URI": ("a grey one [[data-uri]]", "grey.png"),
    "text": ("words [[text]]", "words.txt"),
    "iterator": ("words in pieces [[text-pieces]]", "pieces.txt"),
}
FILES = {
    "file": ["fox.png"],
    "list": ["foxes_1.webp", "foxes_2.webp", "foxes_3.webp"],
    "data URI": ["grey.png"],
    "text": ["words.txt"],
    "iterator": ["pieces.txt"],
}


async def read_asynchronously(file: OutputFile) -> tuple[bytes, bytes]:
    return await file.aread(), b"".join([chunk async for chunk in file])


def test_every_shape_is_saved_and_read_in_every_way(sandbox: Sandbox) -> None:
    requests = [BatchRequest(prompt, QWEN, name) for prompt, name in SHAPES.values()]
    results = dict(zip(SHAPES, replibatch.enqueue_batch(requests).results(60), strict=True))
    for shape, result in results.items():
        assert result.success, f"{shape}: {result.error}"
        assert [Path(path).name for path in result.file_paths] == FILES[shape]
        for file in result.files:
            content = file.read()
            assert content == Path(file.path).read_bytes() == b"".join(file)
            assert asyncio.run(read_asynchronously(file)) == (content, content)
            assert len(content) == file.size_bytes
    for shape in ("file", "list", "data URI"):
        for file in results[shape].files:
            with Image.open(BytesIO(file.read())) as image:
                image.verify()
    assert results["text"].files[0].read().decode() == "A text about: words [[text]]"
    assert results["iterator"].files[0].read().decode() == "A text about: words in pieces [[text-pieces]]"
    # What `use_file_output=False` gives there is `url` here; what never had an address has none.
    (fox,) = results["file"].files
    assert isinstance(fox.url, str) and httpx.get(fox.url).status_code == 200
    assert len({file.url for file in results["list"].files}) == 3
    assert [results[shape].files[0].url for shape in ("data URI", "text", "iterator")] == [None] * 3


def test_no_output_is_no_success_of_that_model(sandbox: Sandbox) -> None:
    for output in ("null-output", "empty-list"):
        request = BatchRequest(f"nothing [[{output}@{QWEN}]]", QWEN, f"{output}.png")
        result = replibatch.enqueue(request).result(60)
        assert result.success and result.model_used != QWEN
        assert result.attempts[0].reason == "no_output"
        with Image.open(f"{output}.png") as image:
            image.verify()


def test_a_download_that_ends_early_is_tried_again_and_not_paid_for_again(sandbox: Sandbox) -> None:
    prompt = "a fox [[truncated-output:2]]"
    result = replibatch.enqueue(BatchRequest(prompt, QWEN, "fox.png")).result(60)
    assert result.success
    with Image.open("fox.png") as image:
        image.verify()
    assert len(sandbox.books.create_times) == 1
    assert sandbox.books.outputs_cut_short.total() == 2
    assert sandbox.books.outputs_with_token == []


def test_an_output_is_the_next_one_s_reference_image(sandbox: Sandbox) -> None:
    first = replibatch.enqueue(BatchRequest("a fox", QWEN, "fox.png")).result(60)
    request = BatchRequest(
        "the same fox, older", "google/nano-banana", "older.png", {"image_input": [first.files[0]]}
    )
    assert replibatch.enqueue(request).result(60).success
    bill = next(bill for bill in sandbox.books.bills() if bill.model == "google/nano-banana")
    assert bill.input["image_input"][0].startswith(f"{sandbox.url}/v1/files/")
