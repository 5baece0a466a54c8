"""What a prediction gives, what its metrics say, and what it costs."""

from __future__ import annotations

from typing import Any

from replibatch.sandbox.faults import Fault
from replibatch.sandbox.forms import DEFAULT_MANY, FORMS, FileRef, file_refs
from replibatch.sandbox.predictions import Prediction, Request

PICTURES = frozenset({"png", "jpg", "webp", "gif", "svg"})
MOVIES = frozenset({"mp4", "webm"})
USUAL_VIDEO_SECONDS = 5.0
CHARACTERS_A_TOKEN = 4


def output_of(request: Request, course: Fault | None) -> Any:
    """The output of a success; files in it are `FileRef`s.

    Args:
        request: what was asked for.
        course: the fault that decides its form; the model's usual output if None.
    """
    model, inputs = request.model, request.input
    extension = model.extension(inputs)
    kind = course.kind if course and course.kind in FORMS else model.gives
    number = course.number if course and course.number is not None else DEFAULT_MANY
    if kind in FORMS:
        return FORMS[kind](number, extension, request.prompt)
    count = int(inputs.get("num_outputs", 1)) if "num_outputs" in model.inputs else 1
    files = [FileRef(f"{place}.{extension}") for place in range(count)]
    return files if model.gives_list or count > 1 else files[0]


def metrics_of(prediction: Prediction) -> dict[str, Any]:
    """What the API tells of a prediction that is over."""
    ran_seconds = prediction.ran_seconds()
    total_seconds = (prediction.completed_at or prediction.created_at) - prediction.created_at
    metrics: dict[str, Any] = {"predict_time": round(ran_seconds, 6), "total_time": round(total_seconds, 6)}
    if prediction.status != "succeeded":
        return metrics
    extensions = [ref.name.rpartition(".")[2] for ref in file_refs(prediction.value)]
    if images := sum(extension in PICTURES for extension in extensions):
        metrics["image_count"] = images
    if any(extension in MOVIES for extension in extensions):
        metrics["video_output_duration_seconds"] = float(prediction.input.get("duration", USUAL_VIDEO_SECONDS))
    if not extensions and prediction.value is not None:
        metrics["input_token_count"] = 1 + len(prediction.prompt) // CHARACTERS_A_TOKEN
        metrics["output_token_count"] = 1 + len(str(prediction.value)) // CHARACTERS_A_TOKEN
    return metrics | prediction.model.metrics


def cost_usd(prediction: Prediction) -> float:
    """What Replicate charges for it, in US dollars.

    A public model: a success its price, a canceled run the share of its usual time it ran, a failed or aborted one
    nothing. A private one charges failures, too.
    """
    model = prediction.model
    if prediction.status == "succeeded" or (prediction.status == "failed" and model.private):
        return model.charge(prediction.input, prediction.metrics)
    if prediction.status == "canceled":
        share = 1.0 if model.by_time else prediction.ran_seconds() / max(prediction.expected_seconds, 0.001)
        return model.charge(prediction.input, prediction.metrics) * min(1.0, share)
    return 0.0
