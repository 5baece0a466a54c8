"""Names of columns that are no inputs of models."""

from __future__ import annotations

OWN = ("prompt", "model", "output", "id", "tags", "then")
# fmt: off
PROPERTIES = frozenset([  # what one object says of itself, and no id is
    "aspectratio", "author", "category", "comment", "count", "created", "date", "description", "instructions",
    "intro", "language", "main", "model", "name", "negative", "negativeprompt", "note", "notes", "positive",
    "positiveprompt", "seed", "size", "style", "subject", "system", "title", "type", "version",
])
# fmt: on
PROMPTS = ("prompt", "prompts", "text", "caption", "instruction", "prompten")  # as `near.plain` writes them
