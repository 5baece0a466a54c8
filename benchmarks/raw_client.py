"""The raw replicate client under asyncio: a semaphore, one process, no queue, no safety."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import replicate

from benchmarks.rivals import MODEL, Call, Task, compete


async def generate(task: Task, files: Path) -> list[Call]:
    """Everything at once behind a semaphore, or one by one."""
    limits = httpx.Limits(max_connections=None)  # its own 100 would hold back more in flight than that
    semaphore = asyncio.Semaphore(task.in_flight)
    client = replicate.Client(transport=httpx.AsyncHTTPTransport(limits=limits))
    async with httpx.AsyncClient(limits=limits, timeout=60) as downloads:

        async def one(number: int, prompt: str) -> Call:
            async with semaphore:
                called_at = time.time()
                output = await _output(client, prompt, hold=task.hold)
                answer = await downloads.get(output[0] if isinstance(output, list) else output)
                (files / f"{number}.webp").write_bytes(answer.content)
                return Call(prompt, called_at, time.time())

        if not task.one_by_one:
            ended = await asyncio.gather(*(one(*each) for each in enumerate(task.prompts)), return_exceptions=True)
            return [call for call in ended if isinstance(call, Call)]  # what fails is not tried again: no file
        calls = []
        for number, prompt in enumerate(task.prompts):
            calls.append(await one(number, prompt))
            await asyncio.sleep(task.pause_seconds)
        return calls


async def _output(client: replicate.Client, prompt: str, *, hold: bool) -> list[str] | str:
    if hold:
        return await client.async_run(MODEL, input={"prompt": prompt})
    owner, _, name = MODEL.partition("/")
    prediction = await client.models.predictions.async_create(model=(owner, name), input={"prompt": prompt})
    await prediction.async_wait()
    return prediction.output


if __name__ == "__main__":
    compete(generate)
