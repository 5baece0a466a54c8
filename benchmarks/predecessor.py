"""replicate-batch-process, called as its README does."""

from __future__ import annotations

import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

from benchmarks.rivals import MODEL, Call, Task, compete

# It imports this, which it does not require, to have prompts rewritten: nothing here asks for that.
for undeclared in ("google", "google.generativeai"):
    sys.modules.setdefault(undeclared, ModuleType(undeclared))

from replicate_batch_process import intelligent_batch_process, replicate_model_calling  # noqa: E402


async def generate(task: Task, files: Path) -> list[Call]:
    """A batch, or one by one."""
    if task.threads:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(task.threads))
    if not task.one_by_one:
        names = [str(files / f"{number}.webp") for number in range(task.count)]
        await intelligent_batch_process(task.prompts, MODEL, max_concurrent=task.in_flight, output_filepath=names)
        return []
    calls = []
    for number, prompt in enumerate(task.prompts):
        called_at = time.time()
        replicate_model_calling(prompt, MODEL, output_filepath=str(files / f"{number}.webp"))
        calls.append(Call(prompt, called_at, time.time()))
        time.sleep(task.pause_seconds)  # nothing else runs here
    return calls


if __name__ == "__main__":
    compete(generate)
