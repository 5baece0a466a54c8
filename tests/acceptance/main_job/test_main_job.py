"""The main job as its users meet it: scripts of their own, whole processes, files on the disk."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from celery import Celery
from PIL import Image

import replibatch
from replibatch import Batch, BatchRequest
from replibatch.errors import AllModelsFailed, ReferenceImageError, ResultTimeout, SettingsError, UnsupportedModel
from replibatch.producer import open_producer
from replibatch.requests import State
from replibatch.sandbox import Sandbox
from tests.support.waiting import until

EXAMPLES = Path(__file__).parents[3] / "examples"
Script = Callable[..., subprocess.Popen[str]]


def format_of(path: str) -> str | None:
    with Image.open(path) as image:
        return image.format


def finished(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


def test_the_single_example(sandbox: Sandbox, script: Script, picture: Callable[[str], Path]) -> None:
    picture("logo.png")
    picture("style_ref.jpg")
    finished(script(str(EXAMPLES / "single.py")))
    assert format_of("output/sunset.jpg") == "JPEG"
    assert format_of("output/styled_sheets.jpg") == "JPEG"
    assert len(sandbox.books.create_times) == 2


def test_the_batch_example(sandbox: Sandbox, script: Script) -> None:
    said = finished(script(str(EXAMPLES / "batch.py")))
    assert "Generated 3 images" in said
    for name in ("sunset", "city", "forest"):
        assert format_of(f"output/{name}.png") == "PNG"


def test_the_mixed_example(sandbox: Sandbox, script: Script, picture: Callable[[str], Path]) -> None:
    picture("reference.jpg")
    said = finished(script(str(EXAMPLES / "mixed.py")))
    assert "Success: 3/3" in said
    for name in ("city", "forest", "character"):
        assert format_of(f"output/{name}.png") == "PNG"


def test_a_chain_of_three_models_is_one_job(sandbox: Sandbox) -> None:
    prompt = "a fox [[failed@black-forest-labs/flux-kontext-max]] [[sensitive@qwen/qwen-image]]"
    job = replibatch.enqueue(BatchRequest(prompt, "black-forest-labs/flux-kontext-max", "fox.png"))
    result = job.result(timeout=30)
    assert result.success and result.model_used == "black-forest-labs/flux-dev"
    assert [(attempt.model, attempt.reason) for attempt in result.attempts] == [
        ("black-forest-labs/flux-kontext-max", "failed"),
        ("qwen/qwen-image", "sensitive"),
        ("black-forest-labs/flux-dev", None),
    ]
    assert all(attempt.prediction_id for attempt in result.attempts)
    assert result.file_paths == [str(Path("fox.png").absolute())]
    assert format_of("fox.png") == "PNG"
    assert replibatch.Job.get(job.id).status() == State.SUCCEEDED


def test_when_every_model_fails_a_black_image_stands_in_and_is_no_success(sandbox: Sandbox) -> None:
    with pytest.raises(AllModelsFailed) as caught:
        replibatch.replicate_model_calling("nothing [[failed]]", "qwen/qwen-image", "black.png")
    result = caught.value.result
    assert not result.success and result.placeholder and result.model_used is None
    assert [attempt.model for attempt in result.attempts] == [
        "qwen/qwen-image",
        "black-forest-labs/flux-dev",
        "black-forest-labs/flux-kontext-max",
    ]
    with Image.open("black.png") as image:
        assert image.size == (1600, 900) and image.convert("L").getextrema() == (0, 0)
    assert sandbox.books.cost_usd == 0


def test_plain_celery_code_reads_the_same_outcome(fleet: str, sandbox: Sandbox, start_worker: Callable) -> None:
    start_worker()
    good = replibatch.enqueue(BatchRequest("a lake", "google/imagen-4-ultra", "lake.jpg"))
    bad = replibatch.enqueue(BatchRequest("no [[failed]]", "google/veo-3-fast"))
    url = fleet.replace("unix://", "redis+socket://").replace("?db=0", "")
    app = Celery("somebody-elses", broker=url, backend=url)
    result = app.AsyncResult(good.id).get(timeout=30)
    assert result["success"] and result["file_paths"] == ["lake.jpg"]
    assert good.result(5).file_paths == [str(Path("lake.jpg").absolute())]
    failure = app.AsyncResult(bad.id)
    with pytest.raises(Exception, match="veo-3-fast"):
        failure.get(timeout=30)
    assert failure.state == "FAILURE" and bad.result(5).state == State.FAILED
    app.close()


@pytest.mark.parametrize("pool", ["threads"])
def test_plain_celery_worker_command(fleet: str, sandbox: Sandbox, tmp_path: Path, script: Script, pool: str) -> None:
    worker = script("-m", "celery", "-A", "workers", "worker", "--pool", pool, "--concurrency", "8")
    try:
        result = replibatch.enqueue(BatchRequest("a hill", "qwen/qwen-image", "hill.webp")).result(30)
        assert result.success and Path("hill.webp").exists()
    finally:
        worker.terminate()
        worker.communicate(timeout=20)


def test_unsupported_model_is_one_line_and_creates_nothing(sandbox: Sandbox) -> None:
    with pytest.raises(UnsupportedModel, match=r"^Model 'x/y' is not supported\. Please use one of the supported"):
        replibatch.replicate_model_calling("a", "x/y")
    with pytest.raises(ReferenceImageError, match=r"no-such\.png"):
        replibatch.replicate_model_calling("a", "black-forest-labs/flux-dev", input_image="no-such.png")
    with pytest.raises(ValueError, match="2 names for 3 prompts"):
        asyncio.run(
            replibatch.intelligent_batch_process(["a", "b", "c"], "qwen/qwen-image", output_filepath=["x", "y"])
        )
    with pytest.raises(SettingsError, match="max_concurrent is 0"):
        asyncio.run(replibatch.intelligent_batch_process(["a"], "qwen/qwen-image", max_concurrent=0))
    assert len(sandbox.books.create_times) == 0


def test_one_bad_request_in_a_list_stops_all_of_it_before_anything_is_paid_for(sandbox: Sandbox) -> None:
    requests = [BatchRequest(f"a {number}", "qwen/qwen-image") for number in range(20)]
    requests.append(BatchRequest("b", "qwen/qwen-image", kwargs={"aspect_ratio": "17:1"}))
    with pytest.raises(ValueError, match="aspect_ratio"):
        replibatch.enqueue_batch(requests)
    assert len(sandbox.books.create_times) == 0


def test_a_bad_setting_is_one_line(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "many")
    with pytest.raises(SettingsError, match=r"^REPLICATE_GLOBAL_MAX_CONCURRENT is 'many'"):
        replibatch.get_global_status()


def test_the_same_idempotency_key_is_the_same_job(sandbox: Sandbox) -> None:
    request = BatchRequest("a key", "qwen/qwen-image", "key.png", request_id="order-17")
    first, second = replibatch.enqueue(request), replibatch.enqueue(request)
    assert first.id == second.id
    assert first.result(30) == second.result(5)
    batch = replibatch.enqueue_batch([request, BatchRequest("another", "qwen/qwen-image")])
    assert [result.success for result in batch.results(30)] == [True, True]
    assert len(sandbox.books.create_times) == 2


def test_results_of_a_batch_come_in_the_order_of_its_requests_and_to_the_callback(sandbox: Sandbox) -> None:
    seen: list[tuple[int, int, str]] = []
    processor = replibatch.IntelligentBatchProcessor(
        progress_callback=lambda done, total, result: seen.append((done, total, result.prompt))
    )
    for _ in range(2):  # a second batch on the same processor, in a second event loop
        seen.clear()
        requests = [BatchRequest(f"p{number}", "qwen/qwen-image") for number in range(9)]
        results = asyncio.run(processor.process_intelligent_batch(requests))
        assert [result.prompt for result in results] == [request.prompt for request in requests]
        assert [done for done, _, _ in seen] == list(range(1, 10)) and {total for _, total, _ in seen} == {9}
    status = processor.global_manager.get_global_status()
    assert status["total_requests"] == 18 and status["current_concurrent"] == 0


def test_how_often_a_model_is_tried_travels_with_the_request_to_a_fleet_s_own_workers(
    fleet: str, sandbox: Sandbox, start_worker: Callable[..., object]
) -> None:
    start_worker(REPLIBATCH_MAX_RETRIES="2")
    cases: list[tuple[dict[str, int | None], int]] = [({"max_retries": 1}, 1), ({}, 3), ({"max_retries": None}, 2)]

    async def attempts(tries: int, given: dict[str, int | None]) -> int:
        processor = replibatch.IntelligentBatchProcessor(fallback=False, **given)
        request = BatchRequest(f"a fox of {tries} tries [[interrupted]]", "qwen/qwen-image")
        (result,) = await processor.process_intelligent_batch([request])
        return len(result.attempts)

    async def together() -> list[int]:
        return await asyncio.gather(*(attempts(tries, given) for given, tries in cases))

    assert asyncio.run(together()) == [tries for _, tries in cases]
    assert len(sandbox.books.create_times) == sum(tries for _, tries in cases)


def test_how_often_a_model_is_tried_is_looked_at(sandbox: Sandbox) -> None:
    with pytest.raises(SettingsError, match=r"^max_retries is '-1'; allowed: a whole number from 0 to 100$"):
        replibatch.IntelligentBatchProcessor(max_retries=-1)


def test_what_was_dropped_from_a_batch_for_good_has_its_result_too(sandbox: Sandbox, fleet: str) -> None:
    requests = [BatchRequest(f"p{number}", "qwen/qwen-image") for number in range(3)]
    told: list[str | None] = []
    processor = replibatch.IntelligentBatchProcessor(1, progress_callback=lambda *each: told.append(each[2].error))

    async def make() -> list[replibatch.BatchResult]:
        making = asyncio.create_task(processor.process_intelligent_batch(requests))
        await asyncio.to_thread(drop)
        return await making

    def drop() -> None:
        producer = open_producer()
        until(lambda: producer.batches.newest(1), what="the batch is there")
        ((batch, _),) = producer.batches.newest(1)
        until(lambda: producer.batches.state(batch).closed, what="all of it is")
        try:
            assert producer.batches.cancel(batch, forget=True) == 2
        finally:
            Batch(producer, batch).cancel()

    results = asyncio.run(make())
    assert [result.prompt for result in results] == [request.prompt for request in requests]
    assert [result.error for result in results] == told == ["canceled", *["canceled before it started"] * 2]
    assert not sandbox.books.create_times


def test_results_that_are_not_there_in_time_are_said_to_be_late(sandbox: Sandbox) -> None:
    sandbox.settings.latency_seconds = 30.0
    batch = replibatch.enqueue_batch([BatchRequest("slow", "qwen/qwen-image")])
    with pytest.raises(ResultTimeout, match="goes on"):
        batch.results(timeout=1)
    batch.cancel()


def test_a_budget_is_kept_and_the_rest_says_so(sandbox: Sandbox) -> None:
    batch = replibatch.enqueue_batch(
        [BatchRequest(f"p{number}", "qwen/qwen-image") for number in range(12)], max_cost_usd=0.1
    )
    results = batch.results(60)
    assert sum(result.success for result in results) == 4
    assert {result.error for result in results if not result.success} == {"not started: it would exceed the budget"}
    assert sandbox.books.cost_usd == pytest.approx(0.1)
    batch.resume(max_cost_usd=0.3)
    assert all(result.success for result in batch.results(60))
    assert sandbox.books.cost_usd == pytest.approx(0.3)
