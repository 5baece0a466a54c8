"""Names of columns that are no inputs of models."""

from __future__ import annotations

OWN = ("prompt", "model", "output", "id", "tags", "then")
# fmt: off
PROPERTIES = frozenset([  # what one object says of itself, and no id is
    "aspectratio", "author", "description", "main", "model", "name", "negative", "negativeprompt", "positive",
    "positiveprompt", "seed", "size", "style", "subject", "title",
])
# fmt: on
PROMPTS = ("prompt", "prompts", "text", "caption", "instruction", "prompten")  # as `near.plain` writes them
