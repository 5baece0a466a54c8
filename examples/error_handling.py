"""One result for each request, in their order: what was made, by which model, and why something was not."""

import asyncio

from replibatch import BatchRequest, IntelligentBatchProcessor


async def batch_with_error_handling():
    processor = IntelligentBatchProcessor()

    requests = [
        BatchRequest(prompt="sunset", model_name="qwen/qwen-image", output_filepath="output/sunset.png"),
        BatchRequest(prompt="city", model_name="qwen/qwen-image", output_filepath="output/city.png"),
    ]

    results = await processor.process_intelligent_batch(requests)

    for result in results:
        if result.success:
            print(f"✅ Generated: {result.file_paths} by {result.model_used} for ${result.cost_usd:.3f}")
        elif result.placeholder:  # every model refused: a black image is there in its place
            print(f"⬛ Placeholder: {result.file_paths} ({result.error})")
        else:
            print(f"❌ Failed: {result.error}")
        for attempt in result.attempts:
            if attempt.reason:
                print(f"   {attempt.model}: {attempt.reason}: {attempt.message}")
    return results


if __name__ == "__main__":
    asyncio.run(batch_with_error_handling())
