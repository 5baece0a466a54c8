"""What goes wrong with replicate-batch-process, row by row, and does not go wrong here.

Told by scripts as its users write them, by the files, and by the stand-in's books.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from replibatch import (
    BatchRequest,
    IntelligentBatchProcessor,
    ReplibatchWarning,
    enqueue,
    intelligent_batch_process,
    replicate_model_calling,
)
from replibatch.errors import AllModelsFailed, GenerationFailed, RequestError, SettingsError, TokenRefused
from replibatch.producer import open_producer
from replibatch.sandbox import Sandbox
from tests.support.catalogue import FLUX, KONTEXT, NANO, QWEN, VEO
from tests.support.holding import hold
from tests.support.waiting import until

TOKEN = "r8_of_the_tests"
BATCH = """
import asyncio, sys
from replibatch import intelligent_batch_process
name, count, *_ = sys.argv[1:]
prompts = [f"{name} {number}" for number in range(int(count))]
print(len(asyncio.run(intelligent_batch_process(prompts, "qwen/qwen-image", int(count), output_dir="out"))))
"""
Script = Callable[..., subprocess.Popen[str]]
Picture = Callable[[str], Path]


def said_by(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    return out.strip()


def batch(prompts: list[str], model: str = QWEN, **options: Any) -> list[str]:
    return asyncio.run(intelligent_batch_process(prompts, model, **options))


def processed(processor: IntelligentBatchProcessor, *requests: BatchRequest) -> list[Any]:
    return asyncio.run(processor.process_intelligent_batch(list(requests)))


# The table.


def test_global_limit_holds_for_scripts_together_and_for_processors_in_one_process(
    sandbox: Sandbox, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "10")
    let_go = hold(sandbox)
    both = [script(name, "30", code=BATCH) for name in ("one", "two")]
    until(
        lambda: sandbox.books.in_flight == 10 and len(open_producer().limiter.status().workers) == 2, what="both work"
    )
    let_go()
    assert [said_by(process) for process in both] == ["30", "30"]
    assert sandbox.books.peak_in_flight == 10
    assert len(sandbox.books.create_times) == 60 and sandbox.books.paid_twice() == []

    sandbox.books.reset()
    first = IntelligentBatchProcessor(max_concurrent=8)
    second = IntelligentBatchProcessor(max_concurrent=12, replicate_api_token=TOKEN)

    let_go = hold(sandbox)

    async def let_them_go() -> list[Any]:
        await asyncio.to_thread(until, lambda: sandbox.books.in_flight == 10, what="the limit is reached")
        let_go()
        return []

    async def together() -> list[Any]:
        work = (
            processor.process_intelligent_batch([BatchRequest(f"{name} {number}", QWEN) for number in range(20)])
            for name, processor in (("left", first), ("right", second))
        )
        return [result for results in await asyncio.gather(*work, let_them_go()) for result in results]

    assert all(result.success for result in asyncio.run(together()))
    assert sandbox.books.peak_in_flight == 10
    seen = [processor.global_manager.get_global_status() for processor in (first, second)]
    assert seen[0] == seen[1] and seen[0]["global_max_concurrent"] == 10


def test_concurrency_is_what_max_concurrent_says(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "300")
    let_go = hold(sandbox)
    prompts = [f"p{number}" for number in range(130)]  # more than a worker's usual threads
    with ThreadPoolExecutor() as pool:
        made = pool.submit(batch, prompts, max_concurrent=300)
        until(lambda: sandbox.books.in_flight == 130 or made.done(), what="all are in flight")
        let_go()
        assert len(made.result()) == 130
    assert sandbox.books.peak_in_flight == 130


def test_rate_is_the_accounts_not_the_processors(
    sandbox: Sandbox, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_REQUESTS_PER_MINUTE", "10")
    monkeypatch.setenv("REPLIBATCH_RATE_WINDOW_SECONDS", "1")
    both = [script(name, "15", code=BATCH) for name in ("one", "two")]
    assert [said_by(process) for process in both] == ["15", "15"]
    assert sandbox.books.most_posts(1.0) == 10


def test_kill_9_pays_for_nothing_twice_and_loses_nothing_paid(
    sandbox: Sandbox, script: Script, start_worker: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REPLIBATCH_LEASE_SECONDS", "2")
    monkeypatch.setenv("REPLIBATCH_SETTLE_SECONDS", "3")
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "8")
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "store"))
    sandbox.settings.latency_seconds = 0.6
    code = """
import asyncio
from replibatch import BatchRequest, IntelligentBatchProcessor
requests = [BatchRequest(f"p{n}", "qwen/qwen-image", f"out/{n}.png", request_id=f"order-{n}") for n in range(40)]
results = asyncio.run(IntelligentBatchProcessor(40).process_intelligent_batch(requests))
print(sum(result.success for result in results))
"""
    for killed_after in (10, 25):
        worker, run = start_worker(), script(code=code)
        until(lambda made=killed_after: len(sandbox.books.create_times) >= made, what="some are created")
        for process in (worker, run):
            os.kill(process.pid, signal.SIGKILL)
        run.communicate()
        worker.wait()
    start_worker()
    assert said_by(script(code=code)) == "40"
    assert len(sandbox.books.create_times) == 40 and sandbox.books.paid_twice() == []
    assert len(list(Path("out").glob("*.png"))) == 40


def test_wrong_token_on_20_prompts_costs_3_calls_at_most_and_says_what_to_do(sandbox: Sandbox) -> None:
    sandbox.settings.accepted_tokens = frozenset({"another"})
    with pytest.raises(TokenRefused) as caught:
        batch([f"p{number}" for number in range(20)])
    assert "REPLICATE_API_TOKEN" in str(caught.value) and TOKEN not in str(caught.value)
    assert len(sandbox.books.post_times) == 0 and len(sandbox.books.read_times) <= 3
    assert not list(Path().rglob("*.png"))


def test_throttled_server_makes_nobody_fail(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLIBATCH_RATE_WINDOW_SECONDS", "1")
    sandbox.settings.creates_per_window = 10
    sandbox.settings.window_seconds = 1.0
    processor = IntelligentBatchProcessor(max_concurrent=40)
    results = processed(processor, *(BatchRequest(f"p{number}", QWEN) for number in range(40)))
    assert all(result.success and not result.placeholder for result in results)
    assert {len(result.attempts) for result in results} == {1}  # a 429 uses none up
    assert sandbox.books.throttled > 0
    assert len(sandbox.books.post_times) < 2 * len(results)


def test_files_are_what_their_names_say_and_in_folders_that_are_made(sandbox: Sandbox) -> None:
    for name, kind in (("a.jpg", "JPEG"), ("b.png", "PNG"), ("out/deep/er/c.webp", "WEBP")):
        (path,) = replicate_model_calling("a bell", FLUX, name)
        assert Path(path) == Path(name).absolute()
        with Image.open(path) as image:
            assert image.format == kind


def test_files_of_two_processes_in_one_second_into_one_folder(sandbox: Sandbox, script: Script) -> None:
    both = [script("same", "15", code=BATCH) for _ in range(2)]
    assert [said_by(process) for process in both] == ["15", "15"]
    assert len(list(Path("out").iterdir())) == 30


def test_files_of_no_output_or_of_a_canceled_prediction_are_none(sandbox: Sandbox) -> None:
    for output in ("null-output", "empty-list"):
        with pytest.raises(AllModelsFailed) as caught:
            replicate_model_calling(f"a void [[{output}]]", QWEN, f"{output}.png")
        assert caught.value.result.placeholder and not caught.value.result.success
        with Image.open(f"{output}.png") as image:
            assert image.size == (1600, 900)
        prompt = f"a void [[{output}@{QWEN}]]"  # the next model makes it
        (path,) = replicate_model_calling(prompt, QWEN, f"{output}-made.png")
        with Image.open(path) as image:
            assert image.format == "PNG"

    sandbox.books.reset()
    with pytest.raises(GenerationFailed, match="canceled") as caught:  # by somebody on the account's web page
        replicate_model_calling("a void [[canceled]]", QWEN, "canceled.png")
    assert not caught.value.result.success
    assert [attempt.reason for attempt in caught.value.result.attempts] == ["canceled"]
    assert len(sandbox.books.create_times) == 1
    assert not Path("canceled.png").exists() and all(path.stat().st_size > 4 for path in Path().glob("*.png"))


def test_results_are_in_order_with_the_failures_among_them_and_a_second_batch_does_not_hang(
    sandbox: Sandbox,
) -> None:
    sandbox.settings.jitter = 0.9
    processor = IntelligentBatchProcessor()
    for _ in range(2):  # `asyncio.run` twice in one process, too
        prompts = [f"p{number}" + (" [[failed]]" if number % 4 == 1 else "") for number in range(9)]
        results = processed(processor, *(BatchRequest(prompt, QWEN) for prompt in prompts))
        assert [result.prompt for result in results] == prompts
        assert [not result.success for result in results] == ["failed" in prompt for prompt in prompts]
    with pytest.warns(UserWarning, match=r"1 of 2 prompts failed: 'b \[\[failed\]\]'"):
        assert len(batch(["a", "b [[failed]]"])) == 1


def test_reference_images_are_dropped_on_no_route(sandbox: Sandbox, picture: Picture) -> None:
    for name in ("one.png", "two.jpg"):
        picture(name)
    replicate_model_calling("a", FLUX, input_image="one.png")
    replicate_model_calling("b", QWEN, image_input=["one.png", "two.jpg"])
    replicate_model_calling("c", KONTEXT, image_input=["one.png", "two.jpg"])
    replicate_model_calling(f"d [[failed@{KONTEXT}]]", KONTEXT, "d.png", input_image="one.png")
    sent = {
        (bill.input["prompt"][0], bill.model): sum("/v1/files/" in str(value) for value in _values(bill.input))
        for bill in sandbox.books.bills()
    }
    assert sent == {
        ("a", KONTEXT): 1,
        ("b", NANO): 2,
        ("c", NANO): 2,
        ("d", KONTEXT): 1,
        ("d", NANO): 1,
    }


def _values(inputs: dict[str, Any]) -> list[Any]:
    return [each for value in inputs.values() for each in (value if isinstance(value, list) else [value])]


# What is not in the table.


def test_an_empty_list_is_an_empty_result(sandbox: Sandbox) -> None:
    assert batch([]) == [] == processed(IntelligentBatchProcessor())


@pytest.mark.parametrize("count", [0, -1, True, "8"])
def test_max_concurrent_of_no_use_is_refused(sandbox: Sandbox, count: Any) -> None:
    with pytest.raises(SettingsError, match=r"max_concurrent is .*; allowed: a whole number from 1"):
        batch(["a"], max_concurrent=count)


@pytest.mark.parametrize(
    ("prompt", "model", "output", "inputs", "said"),
    [
        pytest.param(None, QWEN, None, {}, "prompt is missing", id="prompt=None"),
        pytest.param("a", VEO, "film.jpg", {}, r"film\.jpg", id="video named .jpg"),
        pytest.param("a", FLUX, None, {"guidance": 99}, "guidance is 99", id="value out of range"),
        pytest.param("a", QWEN, None, {"aspect_ratio": "17:1"}, "aspect_ratio is '17:1'", id="value not listed"),
        pytest.param("a", KONTEXT, None, {"input_image": "none.png"}, r"none\.png: no such file", id="no such image"),
    ],
)
def test_a_mistake_costs_nothing(
    sandbox: Sandbox, prompt: Any, model: str, output: str | None, inputs: dict[str, Any], said: str
) -> None:
    with pytest.raises(RequestError, match=said):
        replicate_model_calling(prompt, model, output, **inputs)
    assert len(sandbox.books.post_times) == 0


def test_unknown_inputs_are_left_out_and_the_result_says_so_and_nothing_of_the_token(sandbox: Sandbox) -> None:
    with pytest.warns(ReplibatchWarning, match="sharpness"):
        (result,) = processed(IntelligentBatchProcessor(), BatchRequest("a", QWEN, kwargs={"sharpness": 3}))
    assert result.success and any("sharpness" in warning for warning in result.warnings)
    (bill,) = sandbox.books.bills()
    assert "sharpness" not in bill.input

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        failed = enqueue(BatchRequest("a [[failed]]", QWEN)).result(60)
    for each in (result, failed):
        assert TOKEN not in repr(each) and TOKEN not in str(each.to_json())


def test_a_env_file_in_the_working_directory_is_read(sandbox: Sandbox, script: Script) -> None:
    Path(".env").write_text(
        f"REPLICATE_API_TOKEN={TOKEN}\nREPLICATE_BASE_URL={sandbox.url}\nREPLICATE_GLOBAL_MAX_CONCURRENT=2\n"
    )
    argument = BATCH.replace('output_dir="out"', 'output_dir="out", global_max_concurrent=6')
    # Each with a Redis of its own: a limit holds until its process is known to be gone.
    for place, code, more, limit in (
        ("file", BATCH, {}, 2),
        ("environment", BATCH, {"REPLICATE_GLOBAL_MAX_CONCURRENT": "4"}, 4),
        ("argument", argument, {"REPLICATE_GLOBAL_MAX_CONCURRENT": "4"}, 6),
    ):
        unset = {
            "REPLICATE_API_TOKEN": "",
            "REPLICATE_BASE_URL": "",
            "REPLIBATCH_STATE_DIR": str(Path(place).absolute()),
        }
        sandbox.books.reset()
        let_go, run = hold(sandbox), script("env", "8", code=code, **unset, **more)
        until(
            lambda most=limit, run=run: sandbox.books.in_flight >= most or run.poll() is not None,
            what="the limit is reached",
        )
        time.sleep(0.5)  # long enough for one too many
        let_go()
        assert said_by(run) == "8"
        assert sandbox.books.peak_in_flight == limit, place
