"""Several models in one batch, each with its own inputs. Needs reference.jpg in the working directory."""

import asyncio

from replibatch import BatchRequest, IntelligentBatchProcessor


async def advanced_batch():
    processor = IntelligentBatchProcessor()

    # Create requests with different models and parameters
    requests = [
        BatchRequest(
            prompt="A futuristic city",
            model_name="qwen/qwen-image",
            output_filepath="output/city.png",
            kwargs={"aspect_ratio": "16:9"},
        ),
        BatchRequest(
            prompt="A magical forest",
            model_name="google/imagen-4-ultra",
            output_filepath="output/forest.png",
            kwargs={"output_quality": 90},
        ),
        BatchRequest(
            prompt="Character with red hair",
            model_name="black-forest-labs/flux-kontext-max",
            output_filepath="output/character.png",
            kwargs={"input_image": "reference.jpg"},
        ),
    ]

    # Process all requests concurrently
    results = await processor.process_intelligent_batch(requests, max_concurrent=5)

    # Handle results
    successful = [r for r in results if r.success]
    failed = [r for r in results if not r.success]

    print(f"✅ Success: {len(successful)}/{len(results)}")
    for result in failed:
        print(f"❌ Failed: {result.error}")

    return results


# Run with proper async context
if __name__ == "__main__":
    asyncio.run(advanced_batch())
