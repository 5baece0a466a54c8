"""Requests that the model asked for cannot take as they are. Needs image1.jpg and image2.png where it runs."""

import asyncio

from replibatch import BatchRequest, IntelligentBatchProcessor

REQUESTS = [
    # One reference image, for a model that takes none: flux-kontext-max makes it.
    BatchRequest(
        "Generate based on this image",
        "black-forest-labs/flux-dev",
        "output/one_reference.png",
        {"input_image": "image1.jpg"},
    ),
    # Several of them: nano-banana.
    BatchRequest(
        "Make the sheets in the style of the logo. Make the scene natural.",
        "qwen/qwen-image",
        "output/two_references.png",
        {"image_input": ["image1.jpg", "image2.png"]},
    ),
    # Inputs that flux-kontext-max does not have: qwen-image makes it, with those that it has.
    BatchRequest(
        "Generate image",
        "black-forest-labs/flux-kontext-max",
        "output/other_inputs.png",
        {"guidance": 3.5, "num_outputs": 2},
    ),
]

if __name__ == "__main__":
    for result in asyncio.run(IntelligentBatchProcessor().process_intelligent_batch(REQUESTS)):
        print(f"{result.model_name} → {result.model_used}: {', '.join(result.file_paths) or result.error}")
        for warning in result.warnings:
            print(f"   {warning}")
