"""Names of columns that are no inputs of models."""

from __future__ import annotations

OWN = ("prompt", "model", "output", "id", "tags", "then")
PROMPTS = ("prompt", "prompts", "text", "caption", "instruction", "prompten")  # as `near.plain` writes them
