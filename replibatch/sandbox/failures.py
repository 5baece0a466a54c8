"""What predictions say when they fail, as Replicate and the models behind it have worded it."""

from __future__ import annotations

TEXTS = {
    "failed": "Prediction failed.",
    "sensitive": "The input or output was flagged as sensitive. Please try again with different inputs. (E005)",
    "interrupted": "Prediction interrupted; please retry (code: PA)",
    # Replicate's own codes.
    "no-credit": "Insufficient credit to run this model. (E001)",
    "bad-key": "The API key of this model's provider is not valid. (E002)",
    "high-demand": "Service is currently unavailable due to high demand. Please try again later. (E003)",
    "unavailable": "The service is currently unavailable. Please try again later. (E004)",
    "director": "Director: unexpected error handling prediction (E9828)",
    "out-of-memory": "CUDA out of memory. (E1001)",
    "start-timeout": "Prediction failed: the model did not start in time (E6716)",
    # Moderation, in the words of models that Replicate passes requests on to.
    "moderated-content": "ContentModerationError: Content flagged for: violence. Please revise your prompt.",
    "moderated-request": "Request Moderated",
    "moderated-policy": "Your request was blocked by our content moderation policy.",
    "moderated-safety": "Your request was rejected as a result of our safety system.",
    "nsfw": "NSFW content detected. Try running it again, or try a different prompt.",
    # Words that look like something passing and are a mistake of the input.
    "unavailable-word": "ValueError: the style 'aquarelle' is unavailable; choose one of: photo, drawing",
    "timeout-word": "ValueError: timeout must be at most 30",
    "long-words": "Traceback (most recent call last):\n" + '  File "/src/predict.py", line 1, in predict\n' * 2000,
    "control-words": "\x1b[31mfailed\x1b[0m \x07 \u202egnp.exe",
}
