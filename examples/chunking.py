"""A long list in chunks, each made before the next is asked for.

Not needed for the rate limits: replibatch keeps them for a list of any length, feeds it as the account has room, and
`enqueue_batch` takes a generator of a million prompts. Chunks are of use where a list is still being made.
"""

import asyncio
from itertools import islice

from replibatch import intelligent_batch_process


def chunks(prompts, size):
    """Lists of `size` prompts, the last one of what is left."""
    remaining = iter(prompts)
    while chunk := list(islice(remaining, size)):
        yield chunk


async def process_large_batch(prompts, model_name, chunk_size=50):
    for chunk in chunks(prompts, chunk_size):
        files = await intelligent_batch_process(chunk, model_name, max_concurrent=50, output_dir="output/chunks")
        yield files


async def main():
    prompts = (f"A postcard from station {number} of a night train" for number in range(1, 121))
    async for files in process_large_batch(prompts, "qwen/qwen-image"):
        print(f"{len(files)} files, the last of them {files[-1]}")


if __name__ == "__main__":
    asyncio.run(main())
