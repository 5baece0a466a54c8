"""Inputs that a model does not have are named where the call is made, with the name that was meant."""

from __future__ import annotations

import asyncio
import warnings

import pytest

import replibatch
from replibatch import BatchRequest, ReplibatchWarning
from replibatch.sandbox import Sandbox

MODEL = "qwen/qwen-image"
WRONG = {"aspect-ratio": "16:9", "stepz": 4}


def test_unknown_inputs_are_left_out_and_named_at_the_call(sandbox: Sandbox) -> None:
    with pytest.warns(ReplibatchWarning) as said:
        job = replibatch.enqueue(BatchRequest("a fox", MODEL, "fox.webp", WRONG))
    told = [str(each.message) for each in said]
    assert told == [
        f"{MODEL} has no input 'aspect-ratio'; left out (did you mean 'aspect_ratio'?)",
        f"{MODEL} has no input 'stepz'; left out",
    ]
    assert {each.filename for each in said} == {__file__}
    result = job.result(60)
    assert result.success and set(told) <= set(result.warnings)
    (bill,) = sandbox.books.bills()
    assert not {"aspect-ratio", "stepz", "aspect_ratio"} & bill.input.keys()


def test_a_batch_says_each_once_at_the_line_that_awaits_it(sandbox: Sandbox) -> None:
    async def make() -> list[replibatch.BatchResult]:
        processor = replibatch.IntelligentBatchProcessor()
        requests = [BatchRequest(f"a fox {number}", MODEL, kwargs={"aspect-ratio": "16:9"}) for number in range(3)]
        return await processor.process_intelligent_batch(requests)

    with pytest.warns(ReplibatchWarning) as said:
        results = asyncio.run(make())
    assert [each.filename for each in said] == [__file__]
    assert all(result.success for result in results)


def test_a_warning_that_is_an_error_comes_before_anything_is_spent(sandbox: Sandbox) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ReplibatchWarning)
        with pytest.raises(ReplibatchWarning, match="aspect-ratio"):
            replibatch.enqueue_batch([BatchRequest("a", MODEL), BatchRequest("b", MODEL, kwargs=WRONG)])
        with pytest.raises(ReplibatchWarning, match="aspect-ratio"):
            asyncio.run(replibatch.intelligent_batch_process(["a"], MODEL, **WRONG))
    assert not sandbox.books.create_times
