"""Lists as `run` understands them: items, the lines that refuse them, and what is said."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replibatch import catalog
from replibatch.errors import ListError, RequestError
from replibatch.lists import Asked, Item, Mistake, Mistakes, Options, Prompts, ReadOptions, Understanding, opened

QWEN, BANANA, IMAGEN = "qwen/qwen-image", "google/nano-banana", "google/imagen-4-ultra"
KONTEXT, FLUX = "black-forest-labs/flux-kontext-max", "black-forest-labs/flux-dev"
READ = ("kind", "encoding", "comments", "image_input", "literal", "paragraphs")
PROMPTS = ("template", "fill", "expand", "literal")
ASKED = ("samples", "name", "fallback")


@dataclass
class Outcome:
    """What became of a list."""

    items: list[Item]
    understanding: Understanding

    @property
    def prompts(self) -> list[str]:
        return [item.request.prompt for item in self.items]

    @property
    def sent(self) -> list[dict[str, Any]]:
        """The inputs of each item, without a seed that was made up."""
        return [
            {name: value for name, value in item.routed.inputs.items() if name != "(seed)"} for item in self.items
        ]

    @property
    def keys(self) -> list[bytes]:
        return [item.key for item in self.items]

    @property
    def names(self) -> list[str]:
        return [item.name for item in self.items]

    @property
    def carried(self) -> list[dict[str, Any]]:
        return [item.request.fields or {} for item in self.items]


def written(name: str, content: str | bytes) -> str:
    """A file of a list."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return name


def understood(*files: str, models: tuple[str, ...] = (QWEN,), **given: Any) -> Outcome:
    """A list as items; raises as `run` does."""
    options = Options(
        ReadOptions(**{name: given[name] for name in READ if name in given}),
        Asked(
            models,
            prompts=Prompts(**{name: given[name] for name in PROMPTS if name in given}),
            **{name: given[name] for name in ASKED if name in given},
        ),
        **{
            name: value for name, value in given.items() if name in ("given", "varied", "mapped", "ignored", "strict")
        },
    )
    mistakes, understanding, items = Mistakes(), Understanding(), []
    with opened(files, options, catalog.load()) as listing:
        for each in listing.items("salt", str):
            if isinstance(each, Mistake):
                mistakes.add(each)
            else:
                understanding.add(each)
                items.append(each)
        understanding.files = listing.understood
    mistakes.raise_any()
    return Outcome(items, understanding)


def refused(*files: str, **given: Any) -> list[str]:
    """The lines that refuse a list."""
    try:
        outcome = understood(*files, **given)
    except ListError as error:
        return error.mistakes
    except RequestError as error:
        return [str(error)]
    raise AssertionError(f"not refused: {outcome.prompts[:5]}")
