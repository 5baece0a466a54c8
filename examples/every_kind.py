"""One of each kind of model in one batch: a picture, a video, speech, a larger picture, a picture without background.

    python examples/every_kind.py photo.png

Models without a prompt take None for it. `replibatch models` shows those in the catalogue; `replibatch models add
NAME` adds any other of Replicate's.
"""

import sys

from replibatch import BatchRequest, enqueue_batch


def main(photo: str) -> None:
    """Make them, at most for two dollars."""
    requests = [
        BatchRequest("a lighthouse at dusk", "black-forest-labs/flux-schnell", kwargs={"num_outputs": 2}),
        BatchRequest("waves roll in", "google/veo-3.1-fast", kwargs={"duration": 4, "generate_audio": False}),
        BatchRequest("The storm is over.", "minimax/speech-2.6-turbo", kwargs={"speed": 1.1}),
        BatchRequest(None, "recraft-ai/recraft-crisp-upscale", kwargs={"image": photo}),
        BatchRequest(None, "recraft-ai/recraft-remove-background", kwargs={"image": photo}),
    ]
    batch = enqueue_batch(requests, max_cost_usd=2)
    for result in batch.results():
        cost = "unknown" if result.cost_usd is None else f"${result.cost_usd:.3f}"
        print(f"{result.model_name}: {', '.join(result.file_paths) or result.error} ({cost})")


if __name__ == "__main__":
    main(sys.argv[1])
