"""Several prompts, one model, a name for each file."""

import asyncio

from replibatch import intelligent_batch_process


async def main():
    # Process multiple prompts with the same model
    files = await intelligent_batch_process(
        prompts=["sunset", "city", "forest"],
        model_name="qwen/qwen-image",
        max_concurrent=8,
        output_filepath=["output/sunset.png", "output/city.png", "output/forest.png"],
    )

    print(f"Generated {len(files)} images:")
    for file in files:
        print(f" - {file}")

    return files


# Run the async function
if __name__ == "__main__":
    results = asyncio.run(main())
