"""How a run ends early: paused and named, whatever ends it; and no command makes another one's list."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from replibatch.sandbox import Sandbox
from tests.support.commands import MODEL, Start, replibatch, write_prompts
from tests.support.waiting import until

ITEMS = 20


@pytest.fixture(autouse=True)
def few_at_a_time(monkeypatch: pytest.MonkeyPatch, quick_models: None) -> None:
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "2")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM], ids=["SIGHUP", "SIGTERM"])
def test_a_signal_pauses_and_the_next_list_is_made_alone(
    sandbox: Sandbox, start: Start, number: signal.Signals
) -> None:
    write_prompts(ITEMS)
    write_prompts(3, "other.txt", "a blue owl")
    run = start("run", "prompts.txt", "-m", MODEL, "-o", "out")
    until(lambda: len(sandbox.books.create_times) >= 4, what="some are made")
    run.send_signal(number)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130 and "The same command goes on" in err
    made = len(sandbox.books.create_times)
    assert made < ITEMS
    other = replibatch("run", "other.txt", "-m", MODEL, "-o", "others")
    assert other.returncode == 0, other.stderr
    assert len(sandbox.books.create_times) == made + 3
    again = replibatch("run", "prompts.txt", "-m", MODEL, "-o", "out")
    assert again.returncode == 0 and len(sandbox.books.create_times) == ITEMS + 3


def test_the_list_of_a_run_that_was_killed_is_not_made_by_another(sandbox: Sandbox, start: Start) -> None:
    write_prompts(ITEMS)
    write_prompts(3, "other.txt", "a blue owl")
    run = start("run", "prompts.txt", "-m", MODEL, "-o", "out")
    until(lambda: len(sandbox.books.create_times) >= 2, what="some are made")
    run.kill()
    run.communicate()
    other = replibatch("run", "other.txt", "-m", MODEL, "-o", "others")
    assert other.returncode == 0, other.stderr
    assert len(sandbox.books.create_times) <= 3 + 8, "no more of the first list than was in flight"


SCRIPT = """
import asyncio
from replibatch import intelligent_batch_process

async def main():
    prompts = ["fox %d" % number for number in range(40)]
    async with asyncio.timeout(60) as limit:
        def soon(*_):
            limit.reschedule(0)
        await intelligent_batch_process(prompts, "qwen/qwen-image", max_concurrent=2, progress_callback=soon)

asyncio.run(main())
"""


def test_a_cancelled_call_starts_nothing_more(sandbox: Sandbox) -> None:
    sandbox.settings.latency_seconds = 1.0
    Path("late.py").write_text(SCRIPT)
    ended = subprocess.run([sys.executable, "late.py"], capture_output=True, text=True, timeout=90, check=False)
    assert "TimeoutError" in ended.stderr and "is paused" in ended.stderr
    assert 0 < len(sandbox.books.create_times) < 40
